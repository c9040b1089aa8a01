"""Who may do what on the emulated Hub."""

from __future__ import annotations

from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from tests.hub import EmulatedHub
from tests.hub.support import get


def client(hub: EmulatedHub, token: str | bool) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def whoami(hub: EmulatedHub, name: str) -> dict[str, Any]:
    return client(hub, hub.tokens[name]).whoami()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - a bare dict


def test_whoami_names_the_user_and_the_organisations(hub: EmulatedHub) -> None:
    me = whoami(hub, "alice")
    assert (me["name"], me["type"], me["auth"]["accessToken"]["role"]) == ("alice", "user", "write")
    assert [(org["name"], org["roleInOrg"]) for org in me["orgs"]] == [("acme", "write")]


def test_whoami_lists_the_scopes_of_a_fine_grained_token(hub: EmulatedHub) -> None:
    scoped = whoami(hub, "alice-fine")["auth"]["accessToken"]["fineGrained"]["scoped"]
    assert [entry["entity"]["name"] for entry in scoped] == ["alice"]
    assert "job.write" in scoped[0]["permissions"]


def test_an_unknown_token_is_refused_with_the_hubs_message(hub: EmulatedHub) -> None:
    answer = get(f"{hub.endpoint}/api/whoami-v2", hub.tokens["broken"])
    assert answer.status_code == 401
    assert answer.headers["X-Error-Message"] == "Invalid credentials in Authorization header"


def test_a_read_token_cannot_create_a_repository(hub: EmulatedHub) -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        client(hub, hub.tokens["alice-read"]).create_repo("alice/new")
    assert caught.value.response.status_code == 403
    assert hub.repo_ids() == []


@pytest.mark.parametrize(("user", "allowed"), [("alice", True), ("bob", False), ("alice-fine", False)])
def test_writing_to_an_organisation_needs_role_and_scope(hub: EmulatedHub, user: str, allowed: bool) -> None:
    api = client(hub, hub.tokens[user])
    if allowed:
        api.create_repo("acme/model")
    else:
        with pytest.raises(HfHubHTTPError):
            api.create_repo("acme/model")
    assert hub.repo_ids() == (["acme/model"] if allowed else [])


def test_a_contributor_changes_only_repositories_they_created(hub: EmulatedHub) -> None:
    hub.add_org("club", {"bob": "contributor"})
    hub.add_repo("club/theirs")
    bob = client(hub, hub.tokens["bob"])
    bob.create_repo("club/mine")
    bob.auth_check("club/mine", write=True)
    with pytest.raises(HfHubHTTPError):
        bob.auth_check("club/theirs", write=True)


def test_a_scope_on_one_repository_gives_access_to_that_one_only(hub: EmulatedHub) -> None:
    for name in ("acme/one", "acme/two"):
        hub.add_repo(name, private=True)
    token = hub.add_token("alice", "fineGrained", scopes={"model:acme/one": ["repo.content.read", "repo.write"]})
    client(hub, token).auth_check("acme/one", write=True)
    with pytest.raises(RepositoryNotFoundError):
        client(hub, token).auth_check("acme/two")


def test_a_private_repository_does_not_exist_for_others(hub: EmulatedHub, api: HfApi) -> None:
    hub.add_repo("alice/hidden", private=True)
    api.auth_check("alice/hidden")
    for stranger in (client(hub, False), client(hub, hub.tokens["bob"])):
        with pytest.raises(RepositoryNotFoundError):
            stranger.model_info("alice/hidden")


def test_a_gated_repository_shows_its_info_but_not_its_files(hub: EmulatedHub) -> None:
    hub.add_repo("acme/gated", {"config.json": "{}"}, gated="manual")
    hub.add_user("carol")
    carol = client(hub, hub.tokens["carol"])
    assert carol.model_info("acme/gated").gated == "manual"
    for outsider in (carol, client(hub, False)):
        with pytest.raises(GatedRepoError):
            outsider.auth_check("acme/gated")
    hub.grant_access("acme/gated", "carol")
    carol.auth_check("acme/gated")


def test_organisations_and_users_have_a_public_page(api: HfApi) -> None:
    assert api.get_organization_overview("acme").name == "acme"
    assert [member.username for member in api.list_organization_members("acme")] == ["alice", "bob"]
    assert api.get_user_overview("bob").username == "bob"
