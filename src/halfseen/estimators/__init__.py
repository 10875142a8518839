"""Who finds people's joints in pictures: one small file each, and a plain dict of those that look at pixels."""

from halfseen.estimators import keypointrcnn, mediapipe, vitpose
from halfseen.estimators.people import Estimator

ESTIMATORS: dict[str, Estimator] = {
    "keypointrcnn": Estimator(keypointrcnn.about, keypointrcnn.load),
    "vitpose": Estimator(vitpose.about, vitpose.load),
    "mediapipe": Estimator(mediapipe.about, mediapipe.load),
}
