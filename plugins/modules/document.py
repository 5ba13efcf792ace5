#!/usr/bin/python
# Copyright the image-builder authors. Apache-2.0 (see LICENSE).

from __future__ import annotations

DOCUMENTATION = r"""
module: document
short_description: Checks a build document and hands it on as data
version_added: 1.0.0
author: SODALITE image-builder authors (@sodalite-eu)
description:
  - Reads the document in the YAML or JSON file of the controller that the variable C(document) of the play
    names. Without one, the variables C(source), C(target), C(options) and C(custom_workdir) are the document,
    as they are before Ansible templates them.
  - Checks the document as a whole and reports every fault with its path, unknown keys and those that stand
    twice in the file among them.
  - Text in a document is never a template. The result can be passed on to the other modules of this
    collection as it is.
  - >-
    Secrets given as V({env: NAME}) or V({file: PATH}) are read here, on the controller. The result is
    hidden from all output.
options:
  deleting:
    description:
      - Whether the document is read to remove its images. Then, unless its C(options.delete_images) is true,
        it is not checked, and RV(references) is empty.
    type: bool
    default: false
attributes:
  check_mode:
    description: Can run in check mode, and does the same there.
    support: full
notes:
  - This is an action plugin; it runs on the controller.
"""

EXAMPLES = r"""
- name: Read the document in a file
  sodalite.image_builder.document:
  vars:
    document: /srv/documents/app.yaml
  register: build_document
"""

RETURN = r"""
source:
  description: The source of the document.
  returned: success
  type: dict
target:
  description: The target of the document.
  returned: success
  type: dict
options:
  description: The options of the document, with its time limit in any case.
  returned: success
  type: dict
custom_workdir:
  description: The folder for workspaces, if the play names one.
  returned: success
  type: str
references:
  description: Every name and tag of the images, in full.
  returned: success
  type: list
  elements: str
error:
  description: The error for programs.
  returned: failure
  type: dict
"""
