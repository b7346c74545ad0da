"""The workbench as layers of a viewer: image, prediction, probability, and the strokes over them.

Layers are views of the workbench: deleting or replacing one loses nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from brushwork.blocks import Region
from brushwork.napari import camera
from brushwork.napari.arrays import ChannelArray, channel_levels, display_scale, display_shape, levels
from brushwork.napari.marks import TRANSPARENT, Marks
from brushwork.napari.strokes_layer import BRUSH, StrokesLayer
from brushwork.tile_store import SEGMENTATION, UNCERTAINTY
from brushwork.workbench import Workbench

PREDICTION, PROBABILITY = "prediction", "probability"
FILL, OUTLINE, CLASS, UNSURE, OFF = "fill", "outline", "probability", "unsure", "off"
VIEWS = (FILL, OUTLINE, CLASS, UNSURE, OFF)
CHANNEL_COLORS = ("blue", "green", "red", "magenta", "cyan", "yellow", "gray")
RGB = ("red", "green", "blue")


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
        self._colored: Any = None  # the layer and colours that were shown last
        self._hidden: list[Any] = []  # our layers of the last image while none is in front
        self.strokes: StrokesLayer | None = None
        self.prediction: Any = None
        self.probability: Any = None
        self.on_new_strokes: Callable[[], None] = lambda: None  # the layer that is painted on was made anew
        self.on_drawn: Callable[[], None] = lambda: None  # a stroke has ended, or the box was moved
        self.marks = Marks(viewer, moved=lambda: self.on_drawn())
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
        pixels = self.bench.sample
        self.marks.hide_map()
        self.marks.hide_frame()
        old = [layer for layer in (*self._hidden, *self._layers()) if layer in self.viewer.layers]
        self._hidden = []
        shape, scale = display_shape(image), display_scale(image)
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
        brush = self.strokes.layer.brush_size if self.strokes is not None else BRUSH
        self.strokes = StrokesLayer(
            self.viewer, self.bench.image_id, image, brush=brush, told=self._told, ended=self._painted
        )
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
        self.strokes.let_go()
        self._hidden, self.images = self._layers(), []
        self.strokes = self.prediction = self.probability = None
        self.marks.hide_map()
        self.marks.hide_box()
        self.marks.hide_frame()
        for layer in self._hidden:
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
                name=self.bench.entry.title if len(names) == 1 else name, scale=scale,
                colormap=color, blending="translucent" if c == 0 else "additive",
                contrast_limits=_contrast(pixels[c]), visible=c < len(CHANNEL_COLORS),
            )  # fmt: skip
            layers.append(layer)
        return layers

    def _layers(self) -> list[Any]:
        return [*self.images, *self.over()]

    def over(self) -> list[Any]:
        """Our layers that lie over the image."""
        return [] if self.strokes is None else [self.prediction, self.probability, self.strokes.layer]

    def show_strokes(self) -> None:
        if self.strokes is None:
            return
        learnt, checked = self.bench.labels(), self.bench.labels(check=True)
        coords = np.concatenate([learnt.coords, checked.coords])
        self.strokes.replace(coords, np.concatenate([learnt.classes, checked.classes]))

    def follow(self) -> None:
        """Show the strokes around the view, where a plane is too large to show all."""
        if self.strokes is not None:
            self.strokes.follow(self.region_in_view())

    def _before_3d(self, event: Any = None) -> None:
        """napari reads all that it holds of the strokes when it turns to 3D."""
        if self.viewer.dims.ndisplay == 3:
            self.follow()

    def show_colors(self) -> None:
        """The classes' colours; hidden classes are painted but not predicted over the image."""
        from napari.utils.colormaps import direct_colormap

        if self.strokes is None:
            return
        self._name_probability()
        self._color_probability()
        wanted = (self.strokes, tuple((c.id, c.color, c.map_color, c.visible) for c in self.bench.classes))
        if wanted == self._colored:
            return  # another colormap draws both layers again
        self._colored = wanted
        clear: dict[int | None, str] = {None: TRANSPARENT, 0: TRANSPARENT}
        colors: dict[int | None, str] = {c.id: c.color for c in self.bench.classes}
        seen: dict[int | None, str] = {c.id: c.map_color if c.visible else TRANSPARENT for c in self.bench.classes}
        self.strokes.layer.colormap = direct_colormap(clear | colors)
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
        self._color_probability()
        self.refresh()

    def show_map(self, name: str, region: Region, pixels: NDArray[np.float32]) -> None:
        """A feature map of the view, over the image. pixels : (*spatial)."""
        self.marks.show_map(self.bench.image, name, region, pixels)
        self._put_in_front()

    def mark(self, region: Region) -> None:
        """A frame around a place, until the next stroke."""
        if self.strokes is not None:
            self.marks.show_frame(self.bench.image, region)
            self._put_in_front()

    def show_box(self) -> None:
        """A box that limits prediction, in the middle of the view; raises InputError where y or x is not displayed."""
        self.marks.show_box(self.bench.image, self.region_in_view())

    def region_in_box(self) -> Region | None:
        """What lies in the box; None without one."""
        return self.marks.region_in_box(self.bench.image) if self.strokes is not None else None

    def refresh(self) -> None:
        """Draw the predicted tiles again."""
        self._redraw((self.prediction, self.probability))

    def _name_probability(self) -> None:
        """The layer says what it shows."""
        name = next((c.name for c in self.bench.classes if c.id == self.shown_class), "")
        self.probability.name = UNSURE if self.view == UNSURE else f"{PROBABILITY}: {name}" if name else PROBABILITY

    def _color_probability(self) -> None:
        """From black to the colour that a class's predictions were given; without one, as numbers are shown."""
        given = next((c.prediction_color for c in self.bench.classes if c.id == self.shown_class), None)
        wanted = "magma" if self.view == UNSURE else given or "viridis"
        if self.probability.colormap.name != wanted.lower():
            self.probability.colormap = wanted

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
        if self.strokes.layer in self.viewer.layers:
            self.strokes.take_brush(self._class_id)
        else:
            self.show_image()

    def _painted(self, strokes: StrokesLayer, event: Any) -> None:
        """A stroke has ended: its pixels go to the project, on the image of their layer."""
        self.marks.hide_frame()
        self.on_drawn()
        try:
            new = strokes.painted(event)
            self.bench.paint(new.coords, new.class_id, origin=new.origin, check=self.check_only, image=strokes.image_id)
            self._told("")
        except Exception as error:
            self._told(str(error))
            self.show_strokes()

    def _put_in_front(self) -> None:
        self.viewer.layers.selection.active = self.strokes.layer if self.strokes is not None else None

    def is_in_front(self) -> bool:
        """Whether the mouse acts on our strokes."""
        return self.strokes is not None and self.viewer.layers.selection.active is self.strokes.layer

    def end_stroke(self) -> None:
        """A stroke that is being painted ends here: its pixels are kept before anything else changes."""
        if self.strokes is not None:
            self.strokes.end_stroke()

    def let_go(self) -> None:
        """The layers stay to be looked at; nothing is painted any more."""
        self.viewer.dims.events.ndisplay.disconnect(self._turned)
        if self.strokes is None:
            return
        self.strokes.let_go()
        self.strokes.layer.mode = "pan_zoom"
        self.strokes.layer.editable = False

    # ---- the view ----

    def go_to(self, position: Sequence[int]) -> None:
        """Bring a pixel to the middle of the canvas. position : ([t,] *spatial)."""
        camera.go_to(self.viewer, self.bench.image, position)

    def region_in_view(self) -> Region | None:
        """What the canvas shows of the image in front; None in a 3D view."""
        return camera.region_in_view(self.viewer, self.bench.image) if self.strokes is not None else None

    def pixel_at_cursor(self) -> tuple[int, ...] | None:
        """([t,] *spatial) below the cursor; None beside the image."""
        return camera.pixel_at_cursor(self.viewer, self.bench.image) if self.strokes is not None else None


def _contrast(pixels: NDArray[np.float32]) -> tuple[float, float]:
    """Limits that show most of them."""
    seen = pixels[np.isfinite(pixels)]
    low, high = np.percentile(seen, (0.1, 99.9)) if seen.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)
