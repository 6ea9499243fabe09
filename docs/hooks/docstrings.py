"""Tell the reference pages that the section `Example:` of a docstring holds a doctest."""

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Give the section the name that griffe knows."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section in every docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
