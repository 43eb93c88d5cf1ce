"""fastneg textures."""

from __future__ import annotations

from fastneg.counts import counted
from fastneg.data.encode.textures import write_textures


def run_textures(config):
    """Write the textures and print what was done; 1 if images had to be skipped."""
    done = write_textures(config)
    for note in done["notes"]:
        print(note)
    print(
        f"{config.out}: {counted(done['images'], 'image')}, {counted(done['made'], 'texture')} "
        f"made ({done['bytes'] / 2**20:.1f} MiB) in {done['seconds']:.1f} s, {done['kept']} were "
        f"there before; skipped: {len(done['skipped'])}."
    )
    for skipped in done["skipped"]:
        print(f"  skipped {skipped}")
    return 1 if done["skipped"] else 0
