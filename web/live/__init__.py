"""The live gateway: access units of the feed in, WebRTC out. Knows streams and viewers, no users and no cameras."""
