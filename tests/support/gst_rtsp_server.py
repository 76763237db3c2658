"""GStreamer's RTSP server over one file; run with the system's own Python, which has the bindings.

Usage: /usr/bin/python3 gst_rtsp_server.py PORT FILE KIND   Prints "ready" and serves rtsp://127.0.0.1:PORT/cam.
KIND is h264 or h265 (the file as it is), h264+pcma or h264+aac (with a tone as sound), or mjpeg (a test picture).
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
video, _, sound = codec.partition("+")
if video == "mjpeg":
    launch = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=240,framerate=10/1 ! jpegenc ! rtpjpegpay name=pay0"
else:
    launch = f'filesrc location="{path}" ! qtdemux ! {video}parse ! rtp{video}pay name=pay0 pt=96 config-interval=-1'
tone = "audiotestsrc is-live=true samplesperbuffer=160 ! audio/x-raw,rate={rate},channels=1 ! audioconvert"
if sound == "pcma":
    launch += f" {tone.format(rate=8000)} ! alawenc ! rtppcmapay name=pay1 pt=8"
elif sound == "aac":
    launch += f" {tone.format(rate=16000)} ! avenc_aac ! aacparse ! rtpmp4gpay name=pay1 pt=97"
factory.set_launch(f"( {launch} )")
factory.set_shared(True)
server.get_mount_points().add_factory("/cam", factory)
server.attach(None)
sys.stdout.write("ready\n")
sys.stdout.flush()
GLib.MainLoop().run()
