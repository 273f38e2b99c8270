"""A Flask site with a login, and a chat room for those who have logged in, under the names that the site knows.

    flask --app flask_login_app run
    python flask_login_app.py
    gunicorn --worker-class gthread --workers 1 --threads 100 flask_login_app:site

A real site asks for a password.
"""

from __future__ import annotations

import os
import secrets

from flask import Flask, redirect, request, session, url_for
from werkzeug.exceptions import Unauthorized
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.wrappers import Request, Response

from threadchat import Identity, create_app

ORGANISERS = {"Ann"}

site = Flask(__name__)
site.secret_key = os.environ.get("SECRET_KEY") or secrets.token_hex()


def identify(request: Request) -> Identity:
    """Who wants to chat, by Flask's session."""
    with site.request_context(request.environ):
        name = session.get("name")
    if name is None:
        raise Unauthorized("Log in first.")
    return Identity(name, moderator=name in ORGANISERS)


chat = create_app(identify=identify)
site.wsgi_app = DispatcherMiddleware(site.wsgi_app, {"/chat": chat})  # type: ignore[method-assign]


@site.get("/")
def home() -> str:
    if "name" in session:
        return '<!doctype html><title>My site</title><p>Welcome. There is a <a href="/chat/">chat room</a>.</p>'
    return '<!doctype html><title>My site</title><form method="post" action="/login">Name: <input name="name"></form>'


@site.post("/login")
def login() -> Response:
    session["name"] = request.form["name"]
    return redirect(url_for("home"))


if __name__ == "__main__":
    site.run(port=int(os.environ.get("PORT", "5000")))
