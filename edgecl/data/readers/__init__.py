"""Readers of users' files, one module a kind. They run in the converting child process only."""
