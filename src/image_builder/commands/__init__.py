# Copyright the image-builder authors. Apache-2.0 (see LICENSE).
"""The commands of ``image-builder``, one a file: each parses, calls one function, and prints.

What a command needs beside that it imports when it runs, so that no other command waits for it.
"""
