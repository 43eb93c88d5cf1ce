"""fastneg verify."""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.data.beton.verify import verify


def run_verify(config):
    """Check every sample; 1 if any is bad."""
    result = verify(config)
    checked = (
        "CRC32 and decode" if result["checked_crc"] else "decode (not every file holds checksums)"
    )
    print(
        f"{config.file}: {counted(result['samples'], 'sample')}, {len(result['bad'])} bad; "
        f"checked: {checked}."
    )
    for bad in result["bad"]:
        where = (
            ""
            if bad["index"] is None
            else f"sample {bad['index']} {bad['name'] or ''}: ".replace(" :", ":")
        )
        of = f"{bad['file']}: " if result["files"] > 1 and where else ""
        print(f"  {of}{where}{bad['reason']}")
    return 1 if result["bad"] else 0
