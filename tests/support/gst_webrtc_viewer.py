"""GStreamer's webrtcbin as a viewer; run with the system's own Python, which has the bindings.

Usage: /usr/bin/python3 gst_webrtc_viewer.py   Writes an offer to receive H.264 as one JSON line {"offer"}, reads one with
{"answer"}, then writes {"pictures", "width", "height"} each time ten more pictures were decoded, until stdin ends.
"""

import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

CAPS = "application/x-rtp,media=video,encoding-name=H264,payload=96,clock-rate=90000,packetization-mode=(string)1,rtcp-fb-nack=true,rtcp-fb-nack-pli=true"


def tell(facts):
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


class Viewer:
    def __init__(self):
        self.pictures = 0
        self.pipeline = Gst.Pipeline.new("viewer")
        self.rtc = Gst.ElementFactory.make("webrtcbin", "rtc")
        self.rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self.rtc.set_property("latency", 50)
        self.pipeline.add(self.rtc)
        self.rtc.connect("pad-added", self.on_pad)
        self.rtc.connect("notify::ice-gathering-state", self.on_gathered)
        direction = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
        self.rtc.emit("add-transceiver", direction, Gst.Caps.from_string(CAPS))
        self.pipeline.set_state(Gst.State.PLAYING)
        self.rtc.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer))

    def on_offer(self, promise):
        promise.wait()
        reply = promise.get_reply()  # owns the offer
        self.rtc.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def on_gathered(self, rtc, _what):
        if rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            tell({"offer": rtc.get_property("local-description").sdp.as_text()})

    def answer(self, text):
        _, message = GstSdp.SDPMessage.new()
        GstSdp.sdp_message_parse_buffer(text.encode(), message)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.rtc.emit("set-remote-description", description, Gst.Promise.new())

    def on_pad(self, _rtc, pad):
        chain = Gst.parse_bin_from_description(
            "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=sink sync=false signal-handoffs=true", True
        )
        chain.get_by_name("sink").connect("handoff", self.on_picture)
        self.pipeline.add(chain)
        chain.sync_state_with_parent()
        pad.link(chain.get_static_pad("sink"))

    def on_picture(self, _sink, _buffer, pad):
        self.pictures += 1
        if self.pictures % 10 == 0:
            shape = pad.get_current_caps().get_structure(0)
            tell({"pictures": self.pictures, "width": shape.get_value("width"), "height": shape.get_value("height")})


Gst.init(None)
viewer, loop = Viewer(), GLib.MainLoop()


def listen():
    for line in sys.stdin:
        text = json.loads(line)["answer"]
        GLib.idle_add(lambda t=text: viewer.answer(t) and False)
    GLib.idle_add(loop.quit)


threading.Thread(target=listen, daemon=True).start()
loop.run()
viewer.pipeline.set_state(Gst.State.NULL)
