"""What is said of cameras, tables of them, people, fields and tests, by code, so that pages say it in the reader's language.

Owns the English of each code: `say` makes a `Sentence`, which is that text, for terminals, logs and whoever does not know
codes, and knows its code and facts besides. A fact is a number or a text as typed; no secret is one. The client's words for
each code are in both its catalogues under `said`, which a test compares with this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Fact = str | int | float

ENGLISH: Mapping[str, str] = {
    # cells of a table, and fields
    "cells_surplus": "has more cells than the header; a ; or , inside of a text needs quotes around the text",
    "cell_text": "must be one line of at most {most} characters",
    "whole_number": "must be a whole number from {least} to {most}",
    "is_empty": "is empty",
    "number_twice": "{number} is already in line {line}",
    "new_needs": "camera {number} is new and needs it",
    "no_address": "the camera has no address",
    "address_needed": "give the column adres too, or a whole address here",
    "no_credentials": "must not hold user name or password; use the columns login and hasło_ref",
    "no_credentials_path": "must not hold user name or password; use the columns login and hasło_ref; where the path needs "
    "them write {{user}} and {{password}}",
    "no_profile": 'there is no legal profile "{name}"; known are {known}',
    "profile_keeps": 'the legal profile "{name}" keeps {days} days; leave the cell empty',
    "reference_on_server": "references to passwords are followed on the server's command line only; leave it empty",
    "reference_form": "must be env:NAME or file:PATH; the password itself does not belong in the table",
    "password_stays": "the camera's password is not taken along to another host; it is needed anew",
    "no_variable": "the environment has no variable {name}",
    "file_unread": "{file} cannot be read: {why}",
    "file_utf8": "{file} is not UTF-8 text",
    "file_password": "{file} must hold the password alone, in one line",
    "name_text": "a name is one line of 1 to 120 characters",
    "text_utf8": "a name is one line of 1 to 120 characters, in UTF-8",
    "pin_form": "a certificate pin is the SHA-256 of the certificate: 64 hex digits, colons allowed",
    "degrees_form": "must be degrees as a decimal number, such as 52.2297",
    "degrees_range": "must be from {least} to {most} degrees",
    "login_name": "a user name has 2 to 64 letters a-z, digits and . _ - @, and begins with a letter or a digit",
    "time_over": "this time is over already",
    "is_needed": "is needed",
    "only_rtsp_tested": "only rtsp and rtsps addresses can be tested",
    "profile_gone": "there is no such legal profile",
    "profile_no_sound": 'the legal profile "{name}" does not allow sound',
    "nothing_to_record": "the camera has no {stream} stream to record",
    # fields of requests, by their form
    "text_short": "must have at least {least} characters",
    "text_long": "must have at most {most} characters",
    "list_short": "must have at least {least} entries",
    "list_long": "must have at most {most} entries",
    "number_small": "must be {least} or more",
    "number_large": "must be {most} or less",
    "not_number": "must be a number",
    "not_whole": "must be a whole number",
    "not_text": "must be a text",
    "not_yes_no": "must be true or false",
    "not_id": "must be an id, a UUID",
    "not_known": "is none of the values that are known here",
    "not_expected": "is not expected here",
    "not_json": "must be JSON",
    "field_wrong": "does not fit its description",
    "mark_form": "is no mark of a page; begin at the first one",
    "time_form": "must be a time such as 2026-11-30T07:15:00Z",
    "time_range": "must be a time from 1970 to 2262",
    # people and their rights
    "grant_group": "a group is named for the scope group, and only for it",
    "grant_camera": "a camera is named for the scope camera, and only for it",
    "camera_gone": "there is no such camera",
    "user_exists": 'there is already a user named "{name}"; choose another name',
    "last_holder": "nobody would be {role} any more; make somebody else {role} first",
    # cameras as a whole
    "number_taken": "number {number} is taken; choose another one",
    "camera_retired": "the camera is out of service; add it again as a new one",
    "group_out_of_reach": "your rights do not reach the group it would be in",
    "row_refused": "line {line} could not be written; {written} rows before it are",
    "rebuild_broken_off": "the rebuild of the catalogue was broken off; run it to its end: vms rebuild",
    "catalogue_lost": "the catalogue was lost: it knows no camera, but {cameras} are recorded. Restore it from your backup, or run: vms rebuild. To begin anew, remove {file}",
    "cameras_busy": "another command has been changing cameras for {seconds:.0f} s; try again",
    # layouts, the audit log, and whatever has no words of its own
    "tokens_full": "there are {most} tokens in force already; revoke one first",
    "layouts_full": "there are {most} layouts already; remove one first",
    "layout_tiles": "a layout {grid} has {tiles} tiles, not {given}",
    "layout_spot": "a layout {grid} has tiles 0 to {last}",
    "log_number_or_first": "give either number or first",
    "log_place": "the log has no such place",
    "not_done": "it could not be done",
    # tables as a whole
    "table_column_unknown": '{table}: unknown column "{column}"; known are {known}',
    "table_column_close": '{table}: unknown column "{column}"; did you mean {close}?',
    "table_column_twice": '{table}: column "{column}" is there twice',
    "table_no_number": '{table}: the column "numer" is missing; cameras are found by it',
    "table_long_line": "{table} has a line longer than {most} characters; that is no table",
    "table_empty": "{table} is empty; its first line must name the columns",
    "table_rows": "{table} has more than {most} rows; split it",
    "table_quotes": "{table}, line {line}: check the quotes there",
    "table_large": "{table} is larger than {most} bytes; that is no list of cameras",
    "table_binary": "{table} is not plain CSV; save it from the spreadsheet as CSV UTF-8",
    "table_encoding": "{table} is neither UTF-8 nor cp1250 text (byte {byte}); save it as CSV UTF-8",
    # stream addresses
    "url_long": "a stream address has at most {most} characters",
    "url_characters": "a stream address is plain ASCII without spaces, backslashes and control characters; write others as %XX",
    "url_malformed": "the stream address does not parse: host or port are wrong, or user name or password hold a / ? # @ : or "
    "% that is not written as %XX",
    "url_fragment": 'a stream address has no "#…" part; write %23 where the path needs one',
    "url_port_0": "port 0 in the stream address cannot be connected to",
    "url_srt_port": "an srt address needs its port: srt://host:port",
    "url_control": "user name or password in the stream address holds a control character",
    "url_ipv6": "the host of the stream address is not an IPv6 address",
    "url_ipv4": "{host} is not an IPv4 address",
    "url_no_host": "the stream address has no host; write rtsp://host/path",
    "url_host": "the host of the stream address is neither a name nor an IP address",
    "url_placeholder": "{name} in the stream address means nothing; known are {{user}} and {{password}}",
    "url_placeholder_alone": "in the stream address {{password}} must be all that stands behind its =",
    "url_two_logins": "the stream address holds two user names or passwords; a camera has one of each",
    "url_file_source": "a file as a camera needs --source libav",
    "url_source": '"{scheme}" is not for source rtsp; choose --source libav or auto',
    "url_scheme": "a stream address begins with rtsp:// or rtsps:// (or {others} with libav)",
    "url_file": "a file as a camera is file:///absolute/path",
    # what differs between a camera before and after
    "changed": '{field}: "{before}" → "{after}"',
    "changed_profile": "legal profile",
    "changed_password": "password",
    "stream_added": "{stream} stream: added {url}",
    "stream_moved": "{stream} stream: {before} → {after}",
    "stream_recorded": "{stream} stream: recorded from now on",
    "stream_not_recorded": "{stream} stream: not recorded from now on",
    "stream_removed": "{stream} stream: removed",
    "device_replaced": "replaced by another device",
    # a camera that is suspiciously like another one
    "same_name": "camera {number} has the same name",
    "same_address": "camera {number} has the same address",
    # advice of a camera's test
    "codec_not_recorded": "{codec} is not recorded by the rtsp source: switch the camera to H.264 or H.265, or set source libav",
    "no_keyframe": "no keyframe within {seconds:.0f} s: set the I-frame interval to 2 s; nothing is recorded before one",
    "one_keyframe": "no second keyframe within {seconds:.0f} s: switch off the smart codec (H.264+, H.265+, Zipstream) "
    "and set the I-frame interval to 2 s",
    "rare_keyframes": "a keyframe only every {seconds:.1f} s: set the I-frame interval to 2 s",
    "smart_codec": "a keyframe only every {seconds:.1f} s: set the I-frame interval to 2 s and switch off the smart codec",
    "loss_udp": "{packets} packets were lost: use transport tcp",
    "loss_tcp": "{packets} packets were lost: check the network and the camera's load",
    "b_frames": "B-frames add delay and cost: switch them off, or choose the Baseline or Main profile without them",
    "clock_ahead": "the camera's clock is {seconds:.1f} s ahead of ours: set an NTP server on the camera",
    "clock_behind": "the camera's clock is {seconds:.1f} s behind ours: set an NTP server on the camera",
    "add_h264_sub": "H.265 does not play in every browser: add a sub-stream in H.264 for live view",
    "few_frames": "{announced:g} frames a second announced, {delivered:g} delivered: check exposure time and the number of "
    "streams",
    # why a camera's stream cannot be received; `camera` is host:port
    "connect_timeout": "{camera} did not accept a connection within {seconds:g} s",
    "connection_refused": "{camera} refuses connections: RTSP is off, or not on this port",
    "host_unknown": "{camera} cannot be reached: there is no such name",
    "no_connection": "{camera} cannot be reached",
    "certificate_refused": "{camera}: certificate refused",
    "certificate_unknown": "{camera}: certificate refused; if it is this camera's own certificate, pin it: {pin}",
    "certificate_changed": "{camera}: the certificate is not the pinned one; it is now {pin}",
    "tls_failed": "{camera}: TLS failed",
    "request_unwritable": "{camera}: {method} cannot be written",
    "reads_nothing": "{camera} does not read what is sent to it",
    "answer_timeout": "{camera} did not answer {method} within {seconds:g} s",
    "hung_up": "{camera} closed the connection",
    "connection_lost": "{camera}: connection lost",
    "session_ended": "{camera} ended the session",
    "login_wanted": "{camera} asks for a user name and password",
    "login_wrong": "{camera} does not accept the user name or password",
    "login_unknown": "{camera} asks for a kind of authentication that is not Basic or Digest",
    "stream_forbidden": "{camera} forbids {method}",
    "answered": "{camera} answered {method} with {status}",
    "answered_no_stream": "{camera} answered {method} with {status}: check the path of the stream address",
    "answered_full": "{camera} answered {method} with {status}: the camera is overloaded or has no bandwidth or session "
    "left; close other viewers",
    "answered_no_session": "{camera} answered {method} with {status}: the camera has forgotten the session",
    "answer_unreadable": "{camera}: the answer to {method} does not parse",
    "not_rtsp": "{camera} does not speak RTSP as we know it",
    "redirects_in_circles": "{camera} redirects in circles",
    "redirects_away": "{camera} redirects to where nobody may follow",
    "no_transport": "{camera} supports neither TCP nor UDP (SETUP: 461)",
    "no_udp_ports": "no free pair of UDP ports on this machine",
    "no_udp_route": "no route for UDP to the camera",
    "no_video": "{camera} offers no video",
    "sends_nothing_tcp": "{camera} sent no {media} at all within {seconds:.1f} s over TCP",
    "sends_nothing_udp": "{camera} sent no {media} at all within {seconds:.1f} s over UDP",
    "no_whole_picture": "{camera} sends packets, but no whole picture within {seconds:.1f} s ({packets} packets lost)",
    "stopped_sending": "{camera} sent no {media} for {seconds:.1f} s",
    # a camera's test that came to nothing
    "test_overdue": "the test did not end within {seconds:g} s",
    "test_failed": "the recorder could not test the camera",
}


class Sentence(str):
    """English that knows what it says: `code` of `ENGLISH`, and the facts in it.

    `note` is what a camera, a library or a system said besides, in its own words: for whoever mends it, and never
    translated.
    """

    __slots__ = ("code", "facts", "note")
    code: str
    facts: dict[str, Fact]
    note: str

    def as_json(self) -> dict[str, Any]:
        return {"code": self.code, "facts": dict(self.facts), "text": str(self), "note": self.note}

    def noted(self, note: str) -> Sentence:
        """The same with a note behind it in brackets; itself where there is nothing to note."""
        noted = "; ".join(filter(None, (self.note, note)))
        return _made(f"{self} ({note})", self.code, self.facts, noted) if note else self


def say(code: str, **facts: Fact) -> Sentence:
    """The sentence of this code with these facts in it."""
    return _made(ENGLISH[code].format(**facts), code, facts, "")


def _made(text: str, code: str, facts: dict[str, Fact], note: str) -> Sentence:
    made = Sentence(text)
    made.code, made.facts, made.note = code, facts, note
    return made


def sentence_of(error: Exception) -> Sentence | None:
    """What an error says, where it was raised with a sentence."""
    said = error.args[0] if error.args else None
    return said if isinstance(said, Sentence) else None
