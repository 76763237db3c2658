"""What people do with cameras, whichever door they come by: fields as typed, tables, tests of a camera. Pure or receiving only.

The command line and the HTTP interface call the same functions. Nothing here writes to a catalogue
(`storage.camera_registry` does) or knows of commands and requests.
"""
