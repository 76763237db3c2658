"""Small synthetic footage, encoded once and shared by the test processes."""

import pytest

from vms.simulate import CameraScript, SimulatorOptions, prepare_small


@pytest.fixture(scope="session")
def footage_cache(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp().parent / "footage-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def small_footage(footage_cache):
    """H.264, H.265, H.264 with B-frames."""
    return tuple(prepare_small(footage_cache, pattern=True))


@pytest.fixture
def make_options(small_footage, footage_cache):
    def make(*quirks, codec=0, cameras=1, seed=0, **script):
        script = CameraScript(**{"restart_on_play": True, **script})
        return SimulatorOptions(
            (small_footage[codec],),
            cameras=cameras,
            port=0,
            default=script,
            quirks=quirks,
            seed=seed,
            cache_dir=footage_cache,
        )

    return make
