# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""``python -m image_builder`` is the command ``image-builder``."""

from image_builder.cli import main

if __name__ == "__main__":
    main()
