import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from vms.errors import UserError
from vms.model import Codec
from vms.simulate import footage
from vms.simulate.footage import Recoding, probe, read_clip, recoded
from vms.simulate.recipes import Material, RandomAccess, small


def test_small_footage_loops_seamlessly(small_footage):
    for pair, codec, depth in zip(small_footage, (Codec.H264, Codec.H265, Codec.H264), (0, 0, 1), strict=True):
        clip = read_clip(pair.main)
        assert clip.config.codec is codec
        assert clip.config.reorder_depth == depth
        assert clip.duration == 4 * 90_000
        assert [i for i, u in enumerate(clip.units) if u.key] == [0, 25, 50, 75]
        assert [u.dts for u in clip.units] == [i * 3600 for i in range(100)]
        shifted = sorted(u.pts for u in clip.units)
        assert [t - shifted[0] for t in shifted] == [i * 3600 for i in range(100)]
        assert hashlib.sha256(clip.units[0].data).hexdigest() == clip.units[0].sha256
        assert clip.units[0].size_bytes == len(clip.units[0].data)


def test_two_prepare_at_once(tmp_path):
    recipe = small(Material.PATTERN)[0].sub
    with ThreadPoolExecutor(2) as pool:
        paths = list(pool.map(lambda _: footage.cached(recipe, tmp_path), range(2)))
    assert paths[0] == paths[1]
    assert [p.name for p in tmp_path.iterdir()] == [recipe.file_name]


def test_progress_and_cache_hit(tmp_path):
    heard = []
    recipe = small(Material.PATTERN)[0].sub
    footage.cached(recipe, tmp_path, lambda *a: heard.append(a))
    assert heard[-1] == (recipe.name, recipe.pictures, recipe.pictures)
    heard.clear()
    footage.cached(recipe, tmp_path, lambda *a: heard.append(a))
    assert heard == []


def test_recoding_changes_only_what_it_says(small_footage, footage_cache):
    path = recoded(small_footage[0].main, footage_cache, Recoding("half", size_percent=50, slices=4))
    facts = probe(path)
    assert (facts.width, facts.height, facts.fps, facts.pictures, facts.gop) == (160, 90, 25, 100, 25)
    assert sum(n[0] & 31 in (1, 5) for n in read_clip(path).units[3].nals) == 4


def test_open_gop_has_cra_and_rasl(small_footage, footage_cache):
    change = Recoding("cra", codec=Codec.H265, b_frames=4, access=RandomAccess.OPEN_GOP)
    kinds = {n[0] >> 1 for u in read_clip(recoded(small_footage[0].main, footage_cache, change)).units for n in u.nals}
    assert 21 in kinds  # CRA_NUT
    assert kinds & {8, 9}  # RASL


@pytest.mark.parametrize("content", [b"", b"not a video", bytes(2000)])
def test_rubbish_is_refused_in_plain_words(tmp_path, content):
    path = tmp_path / "kamera.mp4"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not footage that can be served"):
        read_clip(path)


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_clip(tmp_path / "brak.mp4")
