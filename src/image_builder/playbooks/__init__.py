# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""What runs through Ansible and opera: setting up, deploying, following."""
