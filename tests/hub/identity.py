"""Who the caller is: whoami, and what is public about users and organisations."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub.accounts import Organization, Scope, Token
from tests.hub.clock import isoformat, utcnow
from tests.hub.errors import HubError
from tests.hub.web import param, signed_in, state


def _org_view(org: Organization, role: str) -> dict[str, Any]:
    return {
        "type": "org",
        "id": org.id,
        "name": org.name,
        "fullname": org.name.title(),
        "email": None,
        "canPay": False,
        "periodEnd": None,
        "plan": org.plan,
        "isEnterprise": org.plan == "enterprise",
        "roleInOrg": role,
        "avatarUrl": f"/avatars/{org.name}.svg",
    }


def _scope_view(scope: Scope) -> dict[str, Any]:
    entity = {"_id": "0" * 24, "type": scope.type, "name": scope.name}
    return {"entity": entity, "permissions": sorted(scope.permissions)}


def _token_view(token: Token) -> dict[str, Any]:
    view: dict[str, Any] = {"displayName": "emulated", "role": token.role, "createdAt": isoformat(utcnow())}
    if token.role == "fineGrained":
        scoped = [_scope_view(scope) for scope in token.scopes]
        view["fineGrained"] = {"canReadGatedRepos": True, "global": ["discussion.write"], "scoped": scoped}
    return view


async def whoami(request: Request) -> Response:
    """Describe the caller, the organisations they belong to, and the token."""
    token = signed_in(request)
    user, accounts = token.user, state(request).accounts
    orgs = [_org_view(org, org.members[user.name]) for org in accounts.orgs.values() if user.name in org.members]
    view = {
        "type": "user",
        "id": user.id,
        "name": user.name,
        "fullname": user.name.title(),
        "email": f"{user.name}@example.org",
        "emailVerified": True,
        "canPay": True,
        "billingMode": "prepaid",
        "periodEnd": None,
        "isPro": user.is_pro,
        "avatarUrl": f"/avatars/{user.name}.svg",
        "orgs": orgs,
        "auth": {"type": "access_token", "accessToken": _token_view(token)},
    }
    return JSONResponse(view)


async def user_overview(request: Request) -> Response:
    """Show what is public about a user."""
    user = state(request).accounts.users.get(param(request, "name"))
    if user is None:
        raise HubError(404, "This user does not exist")
    view = {"_id": user.id, "user": user.name, "fullname": user.name.title(), "type": "user", "isPro": user.is_pro}
    return JSONResponse({**view, "avatarUrl": f"/avatars/{user.name}.svg", "orgs": []})


def _org(request: Request) -> Organization:
    org = state(request).accounts.orgs.get(param(request, "name"))
    if org is None:
        raise HubError(404, "This organization does not exist")
    return org


async def org_overview(request: Request) -> Response:
    """Show what is public about an organisation."""
    org = _org(request)
    view = {"_id": org.id, "name": org.name, "fullname": org.name.title(), "type": "org", "numUsers": len(org.members)}
    return JSONResponse({**view, "avatarUrl": f"/avatars/{org.name}.svg"})


async def org_members(request: Request) -> Response:
    """List the members of an organisation."""
    users = [state(request).accounts.users[name] for name in _org(request).members]
    return JSONResponse(
        [{"_id": u.id, "user": u.name, "fullname": u.name.title(), "type": "user", "avatarUrl": ""} for u in users]
    )


ROUTES = [
    Route("/api/whoami-v2", whoami),
    Route("/api/users/{name}/overview", user_overview),
    Route("/api/organizations/{name}/overview", org_overview),
    Route("/api/organizations/{name}/members", org_members),
]
