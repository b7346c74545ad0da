"""The workbench as layers of a viewer: image, strokes, prediction, probability; and the view as a region.

Layers are views of the workbench: deleting or replacing one loses nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region, middle
from brushwork.errors import InputError
from brushwork.napari import texts
from brushwork.napari.arrays import (
    ChannelArray,
    StrokeArray,
    StrokeWindow,
    Window,
    channel_levels,
    display_shape,
    levels,
    window_of,
)
from brushwork.tile_store import SEGMENTATION, UNCERTAINTY
from brushwork.workbench import Workbench

STROKES, PREDICTION, PROBABILITY, MAP, HERE = "strokes", "prediction", "probability", "feature", "paint here"
BOX = "only here"
# In a layer's metadata: whose strokes it holds, and from which pixel on, None from afar.
IMAGE_ID, START = "image", "start"
FRAME_COLOR = "#F0E442"
FILL, OUTLINE, CLASS, UNSURE, OFF = "fill", "outline", "probability", "unsure", "off"
VIEWS = (FILL, OUTLINE, CLASS, UNSURE, OFF)
TRANSPARENT = "transparent"
MOST_FILLED = 250_000  # pixels; a bucket that ran over more, or over a quarter of the plane, hit the background
BRUSH = 5  # pixels
CHANNEL_COLORS = ("blue", "green", "red", "magenta", "cyan", "yellow", "gray")
RGB = ("red", "green", "blue")
ORIGINS = {"erase": "eraser", "fill": "fill"}
SAMPLE = 1024  # pixels; the box in the middle on which the contrast is chosen


class Scene:
    """Owns our layers of one viewer, seen only while an image is in front. `told` gets what the user should know."""

    def __init__(self, viewer: Any, bench: Workbench, *, told: Callable[[str], None]) -> None:
        from napari.utils.events import EventEmitter

        self.viewer, self.bench, self._told = viewer, bench, told
        self.view = FILL
        self._class_id = 0  # that the brush paints
        self.check_only = False  # strokes are painted to check the model, not to teach it
        self.shown_class = 0  # whose probability is shown
        self.images: list[Any] = []
        self.map: Any = None  # a feature that is looked at
        self._colored: Any = None  # the layer and colours that were shown last
        self.frame: Any = None  # around a place to paint at
        self.box: Any = None  # that limits prediction
        self._hidden: list[Any] = []  # our layers of the last image while none is in front
        self.strokes: Any = None
        self.prediction: Any = None
        self.probability: Any = None
        self._window = Window((), ())  # of the strokes that are shown
        self._is_stale = False  # the layer shows what was not painted
        self.on_new_strokes: Callable[[], None] = lambda: None  # the layer that is painted on was made anew
        self.on_drawn: Callable[[], None] = lambda: None  # a stroke has ended, or the box was moved
        self._turned = EventEmitter(viewer, "turned")  # napari calls its own first, and takes its emitters for such
        self._turned.connect(self._before_3d)
        viewer.dims.events.ndisplay.connect(self._turned, position="first")
        self.show_image()

    # ---- from the workbench to the layers ----

    def show_image(self) -> None:
        """Layers for the image in front. New ones are added before old ones go: an empty canvas may crash OpenGL."""
        self.end_stroke()  # it lies on the image that was in front
        if not self.bench.image_id:
            self._clear()
            return
        image = self.bench.image
        pixels = _middle(image)  # what is read may fail: before anything is changed
        self.hide_map()
        if self.frame is not None:
            self.frame.visible = False
        old = [layer for layer in (*self._hidden, *self._layers()) if layer in self.viewer.layers]
        self._hidden = []
        shape, scale = display_shape(image), _scale(image)
        self._array, self._window = StrokeArray(shape), window_of(shape, self._whole_view(shape))
        n = len(image.shape)
        self.images = self._add_channels(image, scale, pixels)
        add: dict[str, Any] = {"scale": scale, "multiscale": True}
        self.prediction = self.viewer.add_labels(
            levels(shape, n, self._segmentation), name=PREDICTION, opacity=0.4, **add
        )
        self.probability = self.viewer.add_image(
            levels(shape, n, self._probability), name=PROBABILITY, opacity=0.6, colormap="viridis",
            contrast_limits=(0, 255), visible=False, **add,
        )  # fmt: skip
        size = self.strokes.brush_size if self.strokes is not None else BRUSH
        self.strokes = self.viewer.add_labels(
            self._seen_strokes(), name=STROKES, opacity=0.9, multiscale=False, metadata=self._identity(), **self._place_of_window(),
        )  # fmt: skip
        self.strokes.n_edit_dimensions = 2
        self.strokes.brush_size = size
        self.strokes.events.paint.connect(self._painted)
        for layer in old:
            self.viewer.layers.remove(layer)
        self.viewer.reset_view()
        self.follow()
        self.show_strokes()
        self.show_colors()
        self.show_view(self.view)
        self.brush()
        self.on_new_strokes()

    def _clear(self) -> None:
        """Hide our layers until an image is there again: taking them away would leave the canvas empty."""
        if self.strokes is None:
            return
        self.hide_map()
        self.strokes.events.paint.disconnect(self._painted)
        self._hidden, self.images = self._layers(), []
        self.strokes = self.prediction = self.probability = None
        self.hide_box()
        for layer in (*self._hidden, *([self.frame] if self.frame is not None else [])):
            layer.visible = False

    def _add_channels(self, image: Any, scale: tuple[float, ...], pixels: NDArray[np.float32]) -> list[Any]:
        layers = []
        names = image.channel_names
        is_rgb = tuple(n.lower() for n in names) == RGB or (len(names) == 3 and image.axes.endswith("c"))
        overview = self.bench.overview()
        for c, name in enumerate(names):
            color = RGB[c] if is_rgb else "gray" if len(names) == 1 else CHANNEL_COLORS[c % len(CHANNEL_COLORS)]
            pyramid = channel_levels(image, c, overview)
            layer = self.viewer.add_image(
                pyramid or ChannelArray(image, c), multiscale=pyramid is not None,
                name=self.bench.entry.path.rpartition("/")[2] if len(names) == 1 else name, scale=scale,
                colormap=color, blending="translucent" if c == 0 else "additive",
                contrast_limits=_contrast(pixels[c]), visible=c < len(CHANNEL_COLORS),
            )  # fmt: skip
            layers.append(layer)
        return layers

    def _layers(self) -> list[Any]:
        return [*self.images, *(x for x in (self.prediction, self.probability, self.strokes) if x is not None)]

    def show_strokes(self) -> None:
        if self.strokes is None:
            return
        learnt, checked = self.bench.labels(), self.bench.labels(check=True)
        coords = np.concatenate([learnt.coords, checked.coords])
        self._array.replace(coords, np.concatenate([learnt.classes, checked.classes]))
        self.strokes.refresh(extent=False)

    def follow(self) -> None:
        """Of a plane that is too large the strokes around the view are shown; they move with it, but not under a stroke."""
        if self.strokes is None:
            return
        view = self.region_in_view()
        shape = self._array.shape
        in_plane = self._whole_view(shape) if view is None else (view.start[-2:], view.stop[-2:])
        window = window_of(shape, in_plane, self._window)
        if window != self._window and self._is_painting():
            self._told(texts.END_STROKE)
        elif window != self._window:
            if window.step == 1 < self._window.step:
                self._told("")
            self._window, self._is_stale = window, False
            with self.strokes._block_refresh():
                self.strokes.data = self._seen_strokes()  # first: at any other change napari reads what there is
                place = self._place_of_window()
                self.strokes.scale, self.strokes.translate = place["scale"], place["translate"]
                self.strokes.metadata = self._identity()
            self.strokes.brush_size = self.strokes.brush_size  # the cursor is drawn anew: the layer's pixels are others
            self.strokes.refresh()
        elif self._is_stale:
            self._is_stale = False
            self.strokes.refresh(extent=False)

    def _whole_view(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """A view of a whole plane in y and x; None in 3D."""
        return None if self.viewer.dims.ndisplay == 3 else ((0, 0), shape[-2:])

    def _before_3d(self, event: Any = None) -> None:
        """napari reads all that it holds of the strokes when it turns to 3D."""
        if self.viewer.dims.ndisplay == 3:
            self.follow()

    def _is_painting(self) -> bool:
        """Whether the layer remembers where a stroke or an outline has begun, in pixels of the window."""
        return bool(
            self.strokes._block_history or self.strokes._staged_history or self.strokes._overlays["polygon"].points
        )

    def _identity(self) -> dict[str, Any]:
        return {IMAGE_ID: self.bench.image_id, START: self._window.start if self._window.step == 1 else None}

    def _seen_strokes(self) -> StrokeArray | StrokeWindow:
        whole = self._window == Window((0,) * len(self._array.shape), self._array.shape)
        return self._array if whole else StrokeWindow(self._array, self._window)

    def _place_of_window(self) -> dict[str, NDArray[np.float64]]:
        """scale and translate, so that a pixel of the window lies on those that it shows."""
        scale, steps = np.array(_scale(self.bench.image)), np.array(self._window.steps)
        return {"scale": scale * steps, "translate": (np.array(self._window.start) + (steps - 1) / 2) * scale}

    def show_colors(self) -> None:
        """The classes' colours; hidden classes are painted but not predicted over the image."""
        from napari.utils.colormaps import direct_colormap

        if self.strokes is None:
            return
        self._name_probability()
        wanted = (self.strokes, tuple((c.id, c.color, c.visible) for c in self.bench.classes))
        if wanted == self._colored:
            return  # another colormap draws both layers again
        self._colored = wanted
        clear: dict[int | None, str] = {None: TRANSPARENT, 0: TRANSPARENT}
        colors: dict[int | None, str] = {c.id: c.color for c in self.bench.classes}
        seen: dict[int | None, str] = {c.id: c.color if c.visible else TRANSPARENT for c in self.bench.classes}
        self.strokes.colormap = direct_colormap(clear | colors)
        self.prediction.colormap = direct_colormap(clear | seen)

    def show_view(self, view: str, class_id: int | None = None) -> None:
        """One of VIEWS; class_id : whose probability."""
        self.view = view
        if class_id is not None:
            self.shown_class = class_id
        if self.shown_class not in [c.id for c in self.bench.classes] and self.bench.classes:
            self.shown_class = self.bench.classes[0].id
        if self.strokes is None:
            return
        self.prediction.contour = 1 if view == OUTLINE else 0
        self.prediction.visible = view in (FILL, OUTLINE)
        self.probability.visible = view in (CLASS, UNSURE)
        self._name_probability()
        self.probability.colormap = "magma" if view == UNSURE else "viridis"
        self.refresh()

    def show_map(self, name: str, region: Region, pixels: NDArray[np.float32]) -> None:
        """A feature map of the view, over the image. pixels : (*spatial)."""
        scale = np.array(_scale(self.bench.image))
        first = len(scale) - pixels.ndim
        corner = ((region.t,) if first else ()) + region.start
        if first:
            pixels = pixels[np.newaxis]
        limits = (float(pixels.min()), max(float(pixels.max()), float(pixels.min()) + 1e-6))
        if self.map is None or self.map not in self.viewer.layers or self.map.ndim != pixels.ndim:
            self.map = self.viewer.add_image(pixels, name=MAP, scale=scale, colormap="gray", contrast_limits=limits)
        self.map.data = pixels
        self.map.translate = np.array(corner) * scale
        self.map.contrast_limits_range = self.map.contrast_limits = limits
        self.map.name = f"{MAP}: {name}"
        self.viewer.layers.selection.active = self.strokes

    def mark(self, region: Region) -> None:
        """A frame around a place, until the next stroke."""
        if self.strokes is None:
            return
        image = self.bench.image
        (y0, x0), (y1, x1) = region.start[-2:], region.stop[-2:]
        front = ((region.t,) if image.n_frames > 1 else ()) + region.start[:-2]
        corners = [(*front, y, x) for y, x in ((y0, x0), (y0, x1), (y1, x1), (y1, x0))]
        if self.frame is not None and self.frame in self.viewer.layers and self.frame.ndim == len(corners[0]):
            self.frame.data = [np.array(corners, float)]
            self.frame.visible = True
        else:
            self.frame = self.viewer.add_shapes(
                [np.array(corners, float)], shape_type="polygon", name=HERE, scale=_scale(image),
                edge_color=FRAME_COLOR, face_color=TRANSPARENT, edge_width=1,
            )  # fmt: skip
        self.viewer.layers.selection.active = self.strokes

    def show_box(self) -> None:
        """A box to drag and resize, at first the middle half of the view; raises InputError where y or x is not displayed."""
        view, dims = self.region_in_view(), self.viewer.dims
        if view is None or sorted(dims.displayed) != [dims.ndim - 2, dims.ndim - 1]:
            raise InputError(texts.BOX_IN_PLANE)
        quarters = [(b - a) / 4 for a, b in zip(view.start[-2:], view.stop[-2:])]
        y0, x0 = (a + q - 0.5 for a, q in zip(view.start[-2:], quarters))
        y1, x1 = (b - q - 0.5 for b, q in zip(view.stop[-2:], quarters))
        self.hide_box()
        self.box = self.viewer.add_shapes(  # of y and x alone: it is seen in every plane and frame
            [np.array([(y0, x0), (y0, x1), (y1, x1), (y1, x0)])], shape_type="rectangle", name=BOX,
            scale=_scale(self.bench.image)[-2:], edge_color=FRAME_COLOR, face_color=TRANSPARENT,
            edge_width=max(view.shape[-2:]) / 400,
        )  # fmt: skip
        self.box.mode = "select"
        self.box.selected_data = {0}
        self.box.events.data.connect(lambda event: self.on_drawn())

    def hide_box(self) -> None:
        if self.box is not None and self.box in self.viewer.layers:
            self.viewer.layers.remove(self.box)
        self.box = None

    def region_in_box(self) -> Region | None:
        """What lies in the box around all that is drawn there, in every plane; None without one."""
        if self.box is None or self.box not in self.viewer.layers or not self.box.data:
            return None
        corners = np.concatenate(self.box.data) + 0.5
        shape = self.bench.image.shape
        start = (0,) * (len(shape) - 2) + tuple(np.floor(corners.min(0)).astype(int).tolist())
        stop = shape[:-2] + tuple(np.ceil(corners.max(0)).astype(int).tolist())
        region = Region(start, stop).clipped(shape)
        return region if region.size else None

    def pixel_at_cursor(self) -> tuple[int, ...] | None:
        """([t,] *spatial) below the cursor; None beside the image."""
        shape = display_shape(self.bench.image)
        world = np.array(self.viewer.cursor.position)[-len(shape) :]
        at = np.floor(world / _scale(self.bench.image) + 0.5).astype(int)
        return tuple(at.tolist()) if (at >= 0).all() and (at < shape).all() else None

    def hide_map(self) -> None:
        if self.map is not None and self.map in self.viewer.layers:
            self.viewer.layers.remove(self.map)
        self.map = None

    def refresh(self) -> None:
        """Draw the predicted tiles again."""
        self._redraw((self.prediction, self.probability))

    def _name_probability(self) -> None:
        """The layer says what it shows."""
        name = next((c.name for c in self.bench.classes if c.id == self.shown_class), "")
        self.probability.name = UNSURE if self.view == UNSURE else f"{PROBABILITY}: {name}" if name else PROBABILITY

    def refresh_images(self) -> None:
        """Draw the image again, of which more is known."""
        self._redraw(self.images)

    def _redraw(self, layers: Sequence[Any]) -> None:
        for layer in layers:
            if layer is not None and layer.visible:
                layer.refresh(extent=False, thumbnail=False)

    def _segmentation(self, region: Region, step: tuple[int, ...]) -> NDArray[np.uint8]:
        return self.bench.tiles.picture(self.bench.image_id, SEGMENTATION, region, step)

    def _probability(self, region: Region, step: tuple[int, ...]) -> NDArray[np.uint8]:
        kind = UNCERTAINTY if self.view == UNSURE else self.shown_class
        return self.bench.tiles.picture(self.bench.image_id, kind, region, step)

    # ---- from the layers to the workbench ----

    def brush(self, class_id: int | None = None) -> None:
        """Take the brush, with a class."""
        self._class_id = class_id or self._class_id or (self.bench.classes[0].id if self.bench.classes else 1)
        if self.strokes is None:
            return
        self.strokes.selected_label = self._class_id
        if self.strokes not in self.viewer.layers:
            self.show_image()
        self.viewer.layers.selection.active = self.strokes
        if self.strokes.mode not in ("paint", "fill", "polygon"):
            self.strokes.mode = "paint"

    def _painted(self, event: Any) -> None:
        """A stroke has ended: its pixels go to the project, on the image of their layer."""
        if self.frame is not None:
            self.frame.visible = False
        self.on_drawn()
        image_id = event.source.metadata[IMAGE_ID]
        atoms = list(event.value)
        start = event.source.metadata[START]
        if start is None:
            self._told(texts.ZOOM_IN)
            self._is_stale = True
            return
        coords = np.concatenate([_positions(atom) for atom in atoms]) + start
        class_id = int(np.max(_new_value(atoms[-1])))
        origin = ORIGINS.get(str(self.strokes.mode), "brush") if class_id else "eraser"
        plane = int(np.prod([self._array.shape[i] for i in self.viewer.dims.displayed]))
        if origin == "fill" and len(coords) > min(MOST_FILLED, plane // 4):
            self._told(f"The bucket would fill {len(coords):,} pixels; close the outline first, or use the brush.")
            self.show_strokes()
            return
        try:
            self.bench.paint(coords, class_id, origin=origin, check=self.check_only, image=image_id)
            self._told("")
        except Exception as error:
            self._told(str(error))
            self.show_strokes()

    def is_in_front(self) -> bool:
        """Whether the mouse acts on our strokes."""
        return self.strokes is not None and self.viewer.layers.selection.active is self.strokes

    def end_stroke(self) -> None:
        """A stroke that is being painted ends here: its pixels are kept before anything else changes."""
        if self.strokes is not None:
            self.strokes._commit_staged_history()

    def let_go(self) -> None:
        """The layers stay to be looked at; nothing is painted any more."""
        self.viewer.dims.events.ndisplay.disconnect(self._turned)
        if self.strokes is None:
            return
        self.strokes.events.paint.disconnect(self._painted)
        self.strokes.mode = "pan_zoom"
        self.strokes.editable = False

    def go_to(self, position: Sequence[int]) -> None:
        """Bring a pixel to the middle of the canvas. position : ([t,] *spatial)."""
        world = np.asarray(position, float) * _scale(self.bench.image)
        dims = self.viewer.dims
        extra = dims.ndim - len(world)
        for axis in dims.not_displayed:
            if axis >= extra:
                dims.set_point(axis, world[axis - extra])
        self.viewer.scene.camera.center = tuple(world[[axis - extra for axis in dims.displayed]])

    def region_in_view(self) -> Region | None:
        """What the canvas shows of the image, one pixel thick along the other axis; None in a 3D view."""
        dims, scene = self.viewer.dims, self.viewer.scene
        if dims.ndisplay != 2 or self.prediction is None:
            return None
        image = self.bench.image
        shape = display_shape(image)
        size = np.array(self.viewer.canvas.size, float)
        centre, zoom = np.array(scene.camera.center[-2:], float), scene.camera.zoom
        scale = np.array(_scale(image))
        extra = dims.ndim - len(scale)  # layers of others may have more axes; napari aligns them at the last
        first = len(shape) - len(image.shape)
        shown = [axis - extra for axis in dims.displayed[-2:]]
        if any(axis < first for axis in shown):
            return None  # time is displayed, or an axis that the image does not have
        at = np.array(dims.point)[extra:] / scale
        start = np.floor(at + 0.5).astype(int)
        stop = start + 1
        low, high = centre - size / 2 / zoom, centre + size / 2 / zoom
        start[shown] = np.floor(low / scale[shown] + 0.5)
        stop[shown] = np.ceil(high / scale[shown] + 0.5)
        t = min(max(int(start[0]), 0), image.n_frames - 1) if first else 0
        region = Region(tuple(start[first:].tolist()), tuple(stop[first:].tolist()), t)
        return region.clipped(image.shape)


def _scale(image: Any) -> tuple[float, ...]:
    size = image.pixel_size or (1.0,) * len(image.shape)
    return ((1.0,) if image.n_frames > 1 else ()) + tuple(size)


def _middle(image: Any) -> NDArray[np.float32]:
    """A box in the middle of the image, of a stack in one section, (c, *spatial)."""
    return image.read(middle(image.shape, (1, SAMPLE, SAMPLE)[-len(image.shape) :]))


def _contrast(pixels: NDArray[np.float32]) -> tuple[float, float]:
    """Limits that show most of them."""
    seen = pixels[np.isfinite(pixels)]
    low, high = np.percentile(seen, (0.1, 99.9)) if seen.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def _positions(atom: Any) -> NDArray[np.int64]:
    """(n, ndim) pixels that a step of painting changed: napari tells a box and a mask, or one array per axis."""
    if not hasattr(atom, "slice_key"):
        return np.stack([np.asarray(a).ravel() for a in atom[0]], -1).astype(np.int64)
    start = np.array([s.start for s in atom.slice_key])
    shape = [s.stop - s.start for s in atom.slice_key]
    mask = np.ones(shape, bool) if atom.mask is None else atom.mask
    return np.argwhere(mask) + start


def _new_value(atom: Any) -> Any:
    return atom.new_value if hasattr(atom, "slice_key") else atom[2]
