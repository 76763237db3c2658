"""RTSP 1.0 (RFC 2326): messages, authentication, the client that receives cameras, the server that publishes."""
