"""Alarms: what is wrong at a site, told once to somebody elsewhere, and its end once.

`decision` decides (pure), `words` says it (pure), `memory` is what is on disk, `delivery` carries it out of the machine.
Does not judge whether a stream records or a store is away: that is `vms.status.site_status`'s, for people and alarms alike.
"""
