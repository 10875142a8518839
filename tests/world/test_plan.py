"""What is planned is a benchmark: every query can be answered, and only from another camera."""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from hashlib import sha256
from itertools import combinations, pairwise
from types import FrameType

import pytest
from hypothesis import given
from hypothesis import settings as trying
from hypothesis import strategies as st

from halfseen.data.sets.folders import pid_and_camera
from halfseen.types import InputError, Occlusion
from halfseen.world.bodies.poses import Activity
from halfseen.world.cameras import CAMERAS
from halfseen.world.people import Person
from halfseen.world.plan import STAYING, TRAINING, Planned, Role, Setting, Thing, plan
from halfseen.world.wardrobe import draw_people

FOLDERS = {
    Role.TRAIN: "bounding_box_train",
    Role.QUERY: "query",
    Role.GALLERY: "bounding_box_test",
    Role.QUERY_HOLISTIC: "query_holistic",
    Role.QUERY_PARTIAL: "query_partial",
}
SETTINGS = st.builds(
    Setting,
    ids=st.integers(4, 9),
    images=st.integers(8, 40),
    cameras=st.integers(2, 8),
    seed=st.integers(),
    sharing=st.just(0.2),
    covered=st.sampled_from([(0.25, 0.65), (0.05, 0.05), (0.4, 0.9)]),
    occluded=st.sampled_from([0.0, 0.1, 0.55]),
)
BIG = Setting(ids=100, images=20, cameras=6)


def planned(setting: Setting) -> tuple[tuple[Person, ...], tuple[Planned, ...]]:
    people = draw_people(setting.ids, setting.seed, setting.sharing)
    return people, plan(setting, people, CAMERAS)


@pytest.fixture(scope="module")
def big() -> tuple[Planned, ...]:
    return planned(BIG)[1]


def by_passage(pictures: tuple[Planned, ...]) -> list[list[Planned]]:
    passages = defaultdict(list)
    for picture in pictures:
        passages[picture.shot.pid, picture.shot.camera].append(picture)
    return list(passages.values())


@trying(deadline=None, max_examples=60)
@given(SETTINGS)
def test_every_query_is_answered_by_another_camera(setting: Setting) -> None:
    _, pictures = planned(setting)
    kinds = Counter((picture.shot.pid, picture.role) for picture in pictures)
    half = math.ceil(setting.ids / 2)
    for pid in range(1, setting.ids + 1):
        queries = 0 if pid <= half else setting.images // 8
        assert {kinds[pid, role] for role in Role if role.startswith("query")} == {queries}
        assert kinds[pid, Role.TRAIN] == (setting.images if pid <= half else 0)
        assert kinds[pid, Role.GALLERY] == (0 if pid <= half else setting.images - 3 * queries)
    for query in pictures:
        if not query.role.startswith("query"):
            continue
        answers = {
            other.shot.occlusion
            for other in pictures
            if other.role is Role.GALLERY
            and other.shot.pid == query.shot.pid
            and other.shot.camera != query.shot.camera
        }
        assert Occlusion.HOLISTIC in answers
        if query.role is Role.QUERY_HOLISTIC:
            assert answers == {Occlusion.HOLISTIC, Occlusion.NPO, Occlusion.NTP}


@trying(deadline=None, max_examples=40)
@given(SETTINGS)
def test_shots_are_what_their_fields_promise(setting: Setting) -> None:
    people, pictures = planned(setting)
    half = math.ceil(setting.ids / 2)
    for shot, role in ((picture.shot, picture.role) for picture in pictures):
        hidden, camera = shot.occlusion is not Occlusion.HOLISTIC, CAMERAS[shot.camera]
        assert shot.stance.person == people[shot.pid - 1]
        assert hidden == (role is Role.QUERY) or role in (Role.TRAIN, Role.GALLERY)
        assert (shot.thing is not Thing.NONE) == (shot.occlusion is Occlusion.NPO)
        assert (shot.passer is not None) == (shot.occlusion is Occlusion.NTP)
        assert setting.covered[0] <= shot.covered <= setting.covered[1] if hidden else shot.covered == 0
        assert 0.35 <= shot.keep <= 0.75 if role is Role.QUERY_PARTIAL else shot.keep == 1
        if shot.passer:
            assert shot.passer.person != shot.stance.person
            assert shot.passer.person in (people[:half] if role is Role.TRAIN else people[half:])
        for stance in filter(None, (shot.stance, shot.passer)):
            assert 0 <= stance.phase < 1
            assert len(stance.style) == 8
            assert all(0 <= number <= 1 for number in stance.style)
        assert shot.camera < setting.cameras
        assert camera.near <= shot.ahead <= camera.far
        assert abs(shot.aside) <= 0.8
        assert all(abs(number) <= 1 for number in shot.light)
        assert all(-0.12 <= edge <= 0.1 for edge in shot.jitter)
        assert 0 <= shot.seed < 2**31


@pytest.mark.parametrize("occluded", [0.0, 0.1, 0.25, 0.55])
def test_so_many_pictures_for_training_are_occluded(occluded: float) -> None:
    _, pictures = planned(Setting(ids=40, images=20, cameras=6, occluded=occluded))
    counts = Counter(picture.shot.occlusion for picture in pictures if picture.role is Role.TRAIN)
    hidden = counts[Occlusion.NPO] + counts[Occlusion.NTP]
    assert hidden / counts.total() == pytest.approx(occluded, abs=0.025)  # of 20 pictures each has a whole number
    if hidden:
        assert 0.2 <= counts[Occlusion.NTP] / hidden <= 0.5


@trying(deadline=None, max_examples=30)
@given(SETTINGS)
def test_people_pass_each_camera_once_and_about_equally_often(setting: Setting) -> None:
    _, pictures = planned(setting)
    seen = Counter((picture.shot.pid, picture.shot.camera) for picture in pictures)
    for pid in range(1, setting.ids + 1):
        counts = [seen[pid, camera] for camera in range(setting.cameras)]
        assert max(counts) - min(counts) <= 1
    for passage in by_passage(pictures):
        frames = [int(picture.name.split("_")[-2]) for picture in passage]
        assert len({after - before for before, after in pairwise(frames)}) <= 1
        assert frames == sorted(set(frames))
        assert len({picture.shot.stance.activity for picture in passage}) == 1
        for number in range(4):
            lights = [picture.shot.light[number] for picture in passage]
            assert max(lights) - min(lights) <= 0.11
        yaws = [picture.shot.stance.yaw for picture in passage]
        assert max(yaws) - min(yaws) <= 0.61


@trying(deadline=None, max_examples=30)
@given(SETTINGS)
def test_names_are_market_s_and_unique(setting: Setting) -> None:
    _, pictures = planned(setting)
    assert len({picture.name for picture in pictures}) == len(pictures) == setting.ids * setting.images
    for picture in pictures:
        assert pid_and_camera(picture.name) == (picture.shot.pid, picture.shot.camera + 1)
        assert picture.name.split("/")[0] == FOLDERS[picture.role]


def test_a_name_looks_like_market_s(big: tuple[Planned, ...]) -> None:
    folder, file = big[0].name.split("/")
    assert folder == "bounding_box_train"
    assert file.startswith("0001_c")
    assert len(file) == len("0001_c1s1_000123_00.jpg")


def test_other_cameras_see_other_sides(big: tuple[Planned, ...]) -> None:
    sides = defaultdict(list)
    for passage in by_passage(big):
        sides[passage[0].shot.pid].append([picture.shot.stance.yaw for picture in passage])
    for yaws in sides.values():
        for one, other in combinations(yaws, 2):
            assert all(math.cos(a - b) < math.cos(0.15) for a in one for b in other)


def test_walkers_go_where_they_look(big: tuple[Planned, ...]) -> None:
    checked: Counter[str] = Counter()
    for passage in by_passage(big):
        first, last = passage[0].shot, passage[-1].shot
        if first.stance.activity is Activity.WALK:
            assert first.stance.phase != last.stance.phase
            towards, right = math.cos(first.stance.yaw), math.sin(first.stance.yaw)
            checked.update(towards=abs(towards) > 0.5, right=abs(right) > 0.5)
            assert abs(towards) < 0.5 or (last.ahead - first.ahead) * towards < 0
            assert abs(right) < 0.5 or (last.aside - first.aside) * right > 0
        if first.stance.activity is Activity.STAND:
            assert (first.ahead, first.aside) == (last.ahead, last.aside)
            checked["standing"] += 1
    assert min(checked[way] for way in ("towards", "right", "standing")) > 10


@pytest.mark.parametrize("images", [8, 20, 27])
def test_training_mixes_as_told(images: int) -> None:
    _, pictures = planned(Setting(ids=120, images=images, cameras=5))
    train = [picture.shot for picture in pictures if picture.role is Role.TRAIN]
    shares = Counter(shot.occlusion for shot in train)
    for occlusion, share in ((Occlusion.HOLISTIC, 0.45), (Occlusion.NPO, 0.35), (Occlusion.NTP, 0.2)):
        assert shares[occlusion] / len(train) == pytest.approx(share, abs=0 if images == 20 else 0.03)
    of_each = defaultdict(set)
    for shot in train:
        of_each[shot.pid].add(shot.occlusion)
    assert all(len(kinds) == 3 for kinds in of_each.values())
    per_camera = Counter((shot.camera, shot.occlusion) for shot in train)
    assert len(per_camera) == 5 * 3  # no kind of picture gives its camera away
    # in an order of chance: in the deck itself no two of these lie side by side
    by_turns = [(one, other) for one, other in pairwise(train) if one.pid == other.pid]
    assert any(one.occlusion is other.occlusion is Occlusion.NTP for one, other in by_turns)


def test_every_eight_cards_of_training_hold_all_three() -> None:
    assert all(len({TRAINING[(first + card) % 20] for card in range(8)}) == 3 for first in range(20))


@pytest.mark.parametrize("role", [Role.TRAIN, Role.QUERY, Role.GALLERY])
def test_all_things_stand_in_front_equally_often(big: tuple[Planned, ...], role: Role) -> None:
    things = Counter(picture.shot.thing for picture in big if picture.role is role)
    del things[Thing.NONE]
    assert set(things) == set(Thing) - {Thing.NONE}
    assert max(things.values()) - min(things.values()) <= 1


def test_gallery_and_queries_mix_as_told(big: tuple[Planned, ...]) -> None:
    gallery = Counter(picture.shot.occlusion for picture in big if picture.role is Role.GALLERY)
    assert gallery[Occlusion.HOLISTIC] / gallery.total() == pytest.approx(0.5, abs=0.01)
    assert gallery[Occlusion.NPO] / gallery.total() == pytest.approx(0.25, abs=0.05)
    assert gallery[Occlusion.NTP] / gallery.total() == pytest.approx(0.25, abs=0.05)
    queries = Counter(picture.shot.occlusion for picture in big if picture.role is Role.QUERY)
    assert queries[Occlusion.NPO] == queries[Occlusion.NTP] == 50


def test_all_activities_occur(big: tuple[Planned, ...]) -> None:
    activities = Counter(picture.shot.stance.activity for picture in big)
    assert set(activities) == set(Activity)
    assert activities.most_common(1)[0][0] is Activity.WALK


def test_boxes_lie_as_a_detector_s(big: tuple[Planned, ...]) -> None:
    for edge in range(4):
        off = [picture.shot.jitter[edge] for picture in big]
        assert 0.78 < sum(abs(share) <= 0.03 for share in off) / len(off) < 0.9
        assert 0.06 < sum(share > 0.03 for share in off) / len(off) < 0.14
        assert 0.03 < sum(share < -0.03 for share in off) / len(off) < 0.1


def test_a_setting_means_the_same_plan_everywhere() -> None:
    setting = Setting(ids=5, images=9, cameras=3, seed=4)
    people, pictures = planned(setting)
    assert plan(setting, people, CAMERAS) == pictures
    shots = [
        (p.name, p.role.value, p.shot.camera, p.shot.stance.yaw, p.shot.ahead, p.shot.jitter, p.shot.seed)
        for p in pictures
    ]
    assert sha256(repr(shots).encode()).hexdigest()[:16] == "6b7a2d9cfd074eb6"
    assert plan(Setting(ids=5, images=9, cameras=3, seed=5), people, CAMERAS) != pictures


def test_ten_times_the_people_are_ten_times_the_work() -> None:
    """Counted in calls, which every machine makes alike, whatever else it does."""

    def calls(ids: int) -> int:
        setting, count = Setting(ids=ids, images=20, cameras=6), 0
        people = draw_people(ids, setting.seed)

        def note(_frame: FrameType | None, event: str, _of: object) -> None:
            nonlocal count
            count += event.endswith("call")

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            pictures = plan(setting, people, CAMERAS)
        finally:
            sys.setprofile(before)
        assert len(pictures) == 20 * ids
        return count

    few, many = calls(30), calls(300)
    assert 9 * few < many < 11 * few


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"ids": 0}, "0 people are too few: half are for training, a test needs 2; ask for 4 or more"),
        ({"ids": 3}, "3 people are too few"),
        ({"images": 7}, "7 images per person are too few .* ask for 8 or more"),
        ({"cameras": 1}, "1 cameras are too few: .* ask for 2 to 8"),
        ({"cameras": 9}, "9 cameras are more than there are; ask for 2 to 8"),
        ({"cameras": 4, "available": 3}, "4 cameras are more than there are; ask for 2 to 3"),
        ({"height": 31}, r"images of 31x128 \(height x width\) cannot be drawn; ask for 32x16 to 1024x512"),
        ({"width": 513}, "images of 256x513"),
        ({"width": 15}, "images of 256x15"),
        ({"height": 1025}, "images of 1025x128"),
        ({"sharing": 0.0}, "a sharing of 0 is impossible; ask for more than 0 and at most 0.5"),
        ({"sharing": float("nan")}, "a sharing of nan is impossible"),
        ({"covered": (0.5, 0.4)}, "bodies cannot be covered from 0.5 to 0.4; ask for two shares between 0.05 and 0.9"),
        ({"covered": (0.01, 0.4)}, "bodies cannot be covered from 0.01"),
        ({"covered": (0.1, 0.95)}, "bodies cannot be covered from 0.1 to 0.95"),
        ({"covered": (0.1, float("nan"))}, "bodies cannot be covered"),
        ({"occluded": 0.6}, "a share of 0.6 occluded is impossible; ask for 0 to 0.55"),
        ({"occluded": -0.1}, "a share of -0.1 occluded"),
        ({"occluded": float("nan")}, "a share of nan occluded"),
    ],
)
def test_bad_settings_are_refused(wrong: dict[str, object], sentence: str) -> None:
    good: dict[str, object] = {"ids": 10, "images": 8, "cameras": 2}
    with pytest.raises(InputError, match=sentence):
        Setting(**(good | wrong))  # type: ignore[arg-type]


def test_the_extremes_of_a_setting_are_fine() -> None:
    small = Setting(ids=4, images=8, cameras=2, height=32, width=16, sharing=0.5, covered=(0.05, 0.9))
    assert Setting(**vars(small), available=2) == small
    assert Setting(ids=4, images=8, cameras=8, height=1024, width=512).cameras == 8


def test_a_plan_for_other_people_or_missing_cameras_is_refused() -> None:
    people = draw_people(6, 0)
    with pytest.raises(InputError, match="6 people and 8 cameras were given to a plan of 5 people and 2 cameras"):
        plan(Setting(ids=5, images=8, cameras=2), people, CAMERAS)
    with pytest.raises(InputError, match="6 people and 2 cameras were given to a plan of 6 people and 3 cameras"):
        plan(Setting(ids=6, images=8, cameras=3), people, CAMERAS[:2])


def test_who_stays_moves_slowly_all_the_same() -> None:
    setting, passages = Setting(ids=40, images=20, cameras=6), defaultdict[tuple[int, int], list[Planned]](list)
    for picture in plan(setting, draw_people(setting.ids, setting.seed, setting.sharing), CAMERAS):
        passages[picture.shot.pid, picture.shot.camera].append(picture)
    staying = [some for some in passages.values() if len(some) > 1 and some[0].shot.stance.activity in STAYING]
    assert len(staying) > 10
    assert all(len({picture.shot.stance.phase for picture in some}) == len(some) for some in staying)
