"""How a site stands: gathered from its processes and judged once, for `vms status`, alarms, metrics and the pages alike.

`site_status` gathers and judges streams, `site_judgement` the site as a whole, `status_json` is both for programs, `spool_disk`
asks the disk. Shows nothing and starts nothing.
"""
