"""The commands of ``payd``, one file for each noun. ``cli.py`` puts them together.

A module here imports click and little else at its top: what a command needs is imported when it runs, so that
``payd --version``, ``--help`` and the shell's completion stay quick.
"""
