"""Who may not run a job or keep its model here is told so before anything is submitted, each in its own words."""

import pytest

from tests.hub import Fault
from tests.paid.desk import PaidDesk

pytestmark = pytest.mark.anyio


async def test_without_a_token_a_flavor_cannot_be_used(desk: PaidDesk) -> None:
    without = desk.with_settings(HF_TOKEN="")
    await without.refused('hardware "cpu-basic" needs a token', "Set HF_TOKEN", "Nothing was started.")
    await desk.with_settings(HF_HUB_OFFLINE="1").refused("set to stay offline", "Unset HF_HUB_OFFLINE")


async def test_a_revoked_token_is_not_accepted(desk: PaidDesk) -> None:
    await desk.as_user("broken").refused("does not accept the token", "settings/tokens", "set it as HF_TOKEN")


async def test_a_token_with_a_line_end_in_it_is_told_from_a_wrong_one(desk: PaidDesk) -> None:
    token = desk.hub.tokens["alice"]
    await desk.with_settings(HF_TOKEN=f"{token}\n{token}").refused("spaces or line ends")


async def test_a_read_only_token_may_neither_run_jobs_nor_keep_models(desk: PaidDesk) -> None:
    answer = await desk.as_user("alice-read").refused("may only read; it cannot run jobs", "settings/tokens")
    assert [finding["code"] for finding in answer.result["findings"]] == ["auth.jobs", "auth.write"]


@pytest.mark.parametrize(
    ("permission", "code"), [("job.write", "auth.write"), ("repo.write", "auth.jobs"), ("repo.content.read", "both")]
)
async def test_a_fine_grained_token_needs_both_permissions(desk: PaidDesk, permission: str, code: str) -> None:
    scopes = {"alice": ["repo.content.read", "job.read", permission]}
    desk.hub.tokens["scoped"] = desk.hub.add_token("alice", "fineGrained", scopes=scopes)
    answer = await desk.as_user("scoped").refused("The fine-grained token lacks", "for alice")
    codes = {finding["code"] for finding in answer.result["findings"]}
    assert codes == ({"auth.jobs", "auth.write"} if code == "both" else {code})


async def test_a_fine_grained_token_with_both_permissions_is_enough(desk: PaidDesk) -> None:
    await desk.as_user("alice-fine").submitted()


async def test_jobs_in_a_namespace_of_others_are_refused(desk: PaidDesk) -> None:
    await desk.refused("no member of evil", "Namespaces: alice, acme", namespace="evil")
    await desk.as_user("bob").refused("may only read in acme", "role write", namespace="acme")
    await desk.as_user("alice-fine").refused("lacks job.write for acme", namespace="acme")


async def test_an_organisation_pays_and_keeps_the_model_where_it_is_named(desk: PaidDesk) -> None:
    answer = await desk.submit(namespace="acme", max_cost_usd=1)
    assert answer.result["output_repo"].startswith("acme/tiny-sft-")
    assert answer.result["script_uri"] == f"job://acme/{answer.result['job_id']}/script"
    assert [job["owner"]["name"] for job in desk.hub.jobs()] == ["acme"]


async def test_an_output_repo_in_a_foreign_namespace_is_refused(desk: PaidDesk) -> None:
    answer = await desk.refused("no member of bob", "cannot write there", "output_repo", output_repo="bob/model")
    assert [finding["code"] for finding in answer.result["findings"]] == ["auth.write"]
    desk.hub.add_repo("bob/model", {"README.md": "mine"})
    await desk.refused("may not write to bob/model", output_repo="bob/model")
    desk.hub.add_repo("bob/hidden", private=True)
    await desk.refused("no member of bob", output_repo="bob/hidden")


async def test_an_output_repo_without_a_namespace_is_the_payers(desk: PaidDesk) -> None:
    answer = await desk.submit(output_repo="mine", namespace="acme")
    assert answer.result["output_repo"] == "acme/mine"


@pytest.mark.parametrize("kind", ["model", "dataset"])
async def test_a_gated_repository_names_the_page_where_it_is_accepted(desk: PaidDesk, kind: str) -> None:
    files = {"config.json": "{}", "model.safetensors": "weights", "train.jsonl": '{"text": "a"}'}
    desk.hub.add_repo("acme/gated", files, repo_type=kind, gated="auto")
    page = f"{desk.hub.endpoint}/{'datasets/' if kind == 'dataset' else ''}acme/gated"
    desk.hub.add_user("carol")
    other = desk.as_user("carol")
    desk.hub.add_repo("carol/sums", {"train.jsonl": '{"text": "a"}'}, repo_type="dataset")
    given = {"model": "alice/tiny", "dataset": "carol/sums"} | {kind: "acme/gated"}
    answer = await other.submit(**given)
    other.check_refusal(answer, "is gated", "conditions were not accepted", page, "Nothing was started.")
    desk.hub.grant_access("acme/gated", "carol", repo_type=kind)
    assert (await other.submit(**given)).result["status"] == "planned"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"model": "alice/tinny"}, "no model alice/tinny on the Hub|Did you mean alice/tiny?"),
        ({"model": "alicia/tiny"}, "no model alicia/tiny|alice/tiny"),
        ({"dataset": "alice/sumss"}, "no data set alice/sumss on the Hub|Did you mean alice/sums?"),
        ({"model": "alice/tiny@mian"}, 'no revision "mian"|Did you mean "main"?|Branches and tags: main'),
        ({"dataset": "alice/sums@v2"}, 'data set alice/sums has no revision "v2"|Branches and tags: main'),
    ],
)
async def test_what_does_not_exist_is_met_with_what_may_be_meant(
    desk: PaidDesk, arguments: dict[str, str], words: str
) -> None:
    await desk.refused(*words.split("|"), "Nothing was started.", **arguments)


async def test_a_namespace_without_credits_is_told_where_to_add_them(desk: PaidDesk) -> None:
    desk.hub.set_credits("alice", 0)
    await desk.refused("no credits to start a job in alice", "Pre-paid credit balance", "settings/billing")
    await desk.submitted(namespace="acme")


async def test_a_rate_limit_that_stays_is_told_with_the_time_to_wait(desk: PaidDesk) -> None:
    desk.hub.faults.add(Fault("GET", "/api/whoami-v2", status=429, retry_after=120, times=99, message="slow down"))
    await desk.refused("asks to slow down", "slow down", "Call again in 120 s.")


async def test_a_hub_that_is_not_there_is_told(desk: PaidDesk) -> None:
    nowhere = desk.with_settings(HF_ENDPOINT="http://127.0.0.1:9")
    nowhere.check_refusal(await nowhere.submit(), "no connection to it can be made", "may be repeated")


async def test_a_hub_that_is_out_of_order_is_told(desk: PaidDesk) -> None:
    desk.hub.faults.add(Fault("GET", "/api/models/*", status=503, times=99, message="maintenance"))
    await desk.refused("it answers 503", "maintenance", "may be repeated")
