"""GStreamer's RTSP server over one file, looping; run with the system's own Python, which has the bindings.

Usage: /usr/bin/python3 gst_rtsp_server.py PORT FILE h264|h265   Prints "ready" and serves rtsp://127.0.0.1:PORT/cam.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

port, path, codec = sys.argv[1:4]
Gst.init(None)
server = GstRtspServer.RTSPServer.new()
server.set_address("127.0.0.1")
server.set_service(port)
factory = GstRtspServer.RTSPMediaFactory.new()
parse, pay = ("h264parse", "rtph264pay") if codec == "h264" else ("h265parse", "rtph265pay")
factory.set_launch(f'( filesrc location="{path}" ! qtdemux ! {parse} ! {pay} name=pay0 pt=96 config-interval=-1 )')
factory.set_shared(True)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
