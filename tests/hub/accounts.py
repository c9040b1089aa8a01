"""Users, organisations and access tokens, and what each of them may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Literal

from tests.hub.errors import HubError, bad_credentials

TokenRole = Literal["read", "write", "fineGrained"]
OrgRole = Literal["admin", "write", "contributor", "read"]


@dataclass
class User:
    """A person with an account."""

    name: str
    id: str = field(default_factory=lambda: token_hex(12))
    is_pro: bool = False


@dataclass
class Organization:
    """An organisation and the role of each member."""

    name: str
    members: dict[str, OrgRole] = field(default_factory=dict[str, OrgRole])
    id: str = field(default_factory=lambda: token_hex(12))
    plan: str = "team"


@dataclass(frozen=True)
class Scope:
    """The permissions of a fine-grained token on one user, organisation, repository or bucket."""

    type: str
    name: str
    permissions: frozenset[str]


@dataclass
class Token:
    """An access token of a user."""

    value: str
    user: User
    role: TokenRole
    scopes: list[Scope] = field(default_factory=list[Scope])

    def allows(self, permission: str, namespace: str, resource: tuple[str, str] | None = None) -> bool:
        """Whether the token itself permits something in a namespace, or on one (type, id) inside it."""
        if self.role != "fineGrained":
            return self.role == "write" or permission in {"repo.content.read", "job.read"}
        return any(
            permission in scope.permissions
            for scope in self.scopes
            if (scope.type in {"user", "org"} and scope.name == namespace) or (scope.type, scope.name) == resource
        )


class Accounts:
    """All accounts of one emulated Hub."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.orgs: dict[str, Organization] = {}
        self._tokens: dict[str, Token] = {}

    def add_user(self, name: str, *, is_pro: bool = False) -> User:
        """Register a user."""
        user = self.users[name] = User(name, is_pro=is_pro)
        return user

    def add_org(self, name: str, members: Mapping[str, OrgRole]) -> Organization:
        """Register an organisation with its members."""
        org = self.orgs[name] = Organization(name, dict(members))
        return org

    def add_token(self, user: str, role: TokenRole, scopes: Mapping[str, Iterable[str]] | None = None) -> Token:
        """Issue a token; scopes map "alice", "acme" or "model:acme/x" to permission names."""
        token = Token("hf_" + token_hex(17), self.users[user], role)
        for target, permissions in (scopes or {}).items():
            token.scopes.append(self._scope(target, frozenset(permissions)))
        self._tokens[token.value] = token
        return token

    def revoke(self, value: str) -> None:
        """Make a token unknown from now on."""
        self._tokens.pop(value, None)

    def authenticate(self, header: str | None) -> Token | None:
        """Return the token of an Authorization header, None without one, and refuse an unknown one."""
        if not header:
            return None
        scheme, _, value = header.partition(" ")
        token = self._tokens.get(value.strip())
        if scheme.lower() != "bearer" or token is None:
            raise bad_credentials()
        return token

    def role_in(self, user: User, namespace: str) -> OrgRole | None:
        """Return the user's role in a namespace: admin of their own, None where they are no member."""
        if user.name == namespace:
            return "admin"
        org = self.orgs.get(namespace)
        return org.members.get(user.name) if org else None

    def owner(self, namespace: str) -> dict[str, str]:
        """Describe the owner of a namespace as the API does."""
        if namespace in self.users:
            return {"id": self.users[namespace].id, "name": namespace, "type": "user"}
        if namespace in self.orgs:
            return {"id": self.orgs[namespace].id, "name": namespace, "type": "org"}
        raise HubError(404, f"Namespace {namespace} not found")

    def may_write(self, token: Token | None, kind: str, full_id: str, creator: str | None = None) -> bool:
        """Whether a repository or bucket may be created or changed with a token."""
        namespace = full_id.split("/", maxsplit=1)[0]
        if token is None or not token.allows("repo.write", namespace, (kind, full_id)):
            return False
        role = self.role_in(token.user, namespace)
        return role in {"admin", "write"} or (role == "contributor" and creator in {None, token.user.name})

    def may_read(self, token: Token | None, kind: str, full_id: str) -> bool:
        """Whether a private repository or bucket may be read with a token."""
        namespace = full_id.split("/", maxsplit=1)[0]
        if token is None or self.role_in(token.user, namespace) is None:
            return False
        resource = (kind, full_id)
        return token.allows("repo.content.read", namespace, resource) or token.allows("repo.write", namespace, resource)

    def may_see_jobs(self, token: Token, namespace: str) -> bool:
        """Whether the jobs of a namespace may be listed and read with a token."""
        member = self.role_in(token.user, namespace) is not None
        return member and (token.allows("job.read", namespace) or token.allows("job.write", namespace))

    def may_run_jobs(self, token: Token, namespace: str) -> bool:
        """Whether jobs may be started and stopped in a namespace with a token."""
        role = self.role_in(token.user, namespace)
        return role in {"admin", "write", "contributor"} and token.allows("job.write", namespace)

    def _scope(self, target: str, permissions: frozenset[str]) -> Scope:
        kind, _, name = target.rpartition(":")
        if not kind:
            kind = "org" if name in self.orgs else "user"
        return Scope(kind, name, permissions)
