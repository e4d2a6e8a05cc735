"""One image as each method shows it."""

from PIL import Image

from qgcn.evaluating.evaluate import evaluate_image
from qgcn.evaluating.pictures import Box, largest_gain, side_by_side
from qgcn.jpeg.codec import Codec
from qgcn.paper.record import Models
from qgcn.restoring.model import load_model
from qgcn.utils.errors import UserError
from qgcn.utils.image import load_image


def compare_methods(path: str, models: Models, quality: int, crop: Box | None, *, codec: Codec) -> Image.Image:
    """The original, the JPEG and each method, with ``crop`` or where the last method gains most enlarged."""
    loaded = {name: load_model(checkpoint_path) for name, checkpoint_path in models.items()}
    modes = {model.color_mode for model in loaded.values()}
    if len(modes) > 1:
        raise UserError("compare shows checkpoints of one colour mode: these restore colour and gray")
    truth = load_image(path, modes.pop())
    shown = {}
    for name, model in loaded.items():
        pictures, _ = evaluate_image(truth, model, quality=quality, codec=codec, metrics={})
        shown.setdefault(f"JPEG {quality}", pictures["compressed"])
        shown[name] = pictures["restored"]
    if crop is None:
        crop = largest_gain(truth, shown[f"JPEG {quality}"], pictures["restored"])
    left, top, width, height = crop
    if min(left, top) < 0 or min(width, height) < 1 or left + width > truth.shape[1] or top + height > truth.shape[0]:
        raise UserError(f"--crop {crop} does not lie in the image of {truth.shape[1]} x {truth.shape[0]} pixels")
    return side_by_side(truth, shown, crop)
