import msgspec
import pytest

from config.errors import ModelNotFound
from config.settings import ModelSettings, Settings
from mlx_serving.tree import GROUP_OF_MODELS, Tree, demo_folder, engine_environment
from supervisor.validate import check_group
from transport.endpoints import RuntimeDirectory
from transport.messages.admin import Load


@pytest.fixture
def make_tree(tmp_path):
    def make(**changed):
        return Tree(Settings(**changed), RuntimeDirectory(tmp_path), http_fd=5)

    return make


def by_id(group):
    found = {}
    for child in group.children:
        found[child.id] = child
        found |= by_id(child) if hasattr(child, "children") else {}
    return found


def test_the_default_tree_serves_the_demo_model(make_tree):
    children = by_id(make_tree().root())
    assert list(children) == [
        "control", "models", "model:demo", "engine:demo:0", "gateways", "gateway:0",
    ]  # fmt: skip
    assert children["engine:demo:0"].args.source == str(demo_folder())
    assert children["gateway:0"].fds == {"http": 5}


def test_the_tree_is_one_that_the_supervisor_accepts(make_tree):
    check_group(make_tree().root(), None)


def test_engines_finish_what_they_have_before_a_command_stops_them(make_tree):
    children = by_id(make_tree().root())
    finishing = [name for name, child in children.items() if getattr(child, "finishes", False)]
    assert finishing == ["engine:demo:0"]


def test_replicas_and_gateways_are_children_of_their_own(make_tree):
    models = (ModelSettings(model="org/m", alias="a", replicas=2),)
    server = msgspec.structs.replace(Settings().server, gateways=3)
    children = by_id(make_tree(models=models, server=server).root())
    assert {"engine:a:0", "engine:a:1", "gateway:2"} <= set(children)
    labels = {"model": "a", "replica": "1", "replicas": "2", "source": "org/m"}
    assert children["engine:a:1"].labels == labels
    assert children["engine:a:1"].args.source == "org/m"


def test_engines_of_different_models_have_different_numbers(make_tree):
    models = (ModelSettings(model="a/b"), ModelSettings(model="a/c"))
    tree = make_tree(models=models)
    tree.root()
    later = tree.group(Load(model="a/d", alias=None, replicas=1))
    assert later.id == "model:a/d"
    assert later.children[0].args.number == 2


def test_arguments_survive_the_way_to_the_child(make_tree):
    for child in by_id(make_tree().root()).values():
        if hasattr(child, "encoded_args"):
            decoded = msgspec.msgpack.decode(child.encoded_args(), type=type(child.args))
            assert decoded == child.args


def test_models_come_and_go_in_a_group_that_ends_the_node_when_all_failed(make_tree):
    models = by_id(make_tree().root())[GROUP_OF_MODELS]
    assert (models.auto_shutdown, models.significant) == ("all_significant", True)
    assert all(model.restart == "temporary" for model in models.children)


def test_a_users_own_blas_settings_stay(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert engine_environment().get("OPENBLAS_NUM_THREADS", "3") == "3"


ON_DEMAND = (
    ModelSettings(model="demo", pinned=True),
    ModelSettings(model="org/m", alias="later", replicas=2, load="on_demand"),
)


def test_a_model_that_is_loaded_on_demand_has_no_process_at_first(make_tree):
    tree = make_tree(models=ON_DEMAND)
    children = by_id(tree.root())
    assert "model:demo" in children
    assert "model:later" not in children
    check_group(tree.root(), None)
    assert [plan.name for plan in children["control"].args.models] == ["demo", "later"]
    assert [plan.pinned for plan in children["control"].args.models] == [True, False]
    assert [plan.permanent for plan in children["control"].args.models] == [True, False]
    assert children["control"].args.models[0].source == str(demo_folder())


def test_gateways_know_the_prompts_to_pin_by_the_names_of_their_models(make_tree):
    models = (
        ModelSettings(model="demo"),
        ModelSettings(model="demo", alias="b", pinned_prompts=("A",)),
    )
    gateway = by_id(make_tree(models=models).root())["gateway:0"]
    assert gateway.args.pinned_prompts == {"b": ("A",)}


def test_with_models_on_demand_the_node_lives_on_when_the_others_failed(make_tree):
    assert not by_id(make_tree(models=ON_DEMAND).root())["model:demo"].significant


def test_models_of_the_configuration_are_found_by_their_names(make_tree):
    tree = make_tree(models=ON_DEMAND)
    assert list(by_id(tree.configured("later"))) == ["engine:later:0", "engine:later:1"]
    assert list(by_id(tree.group(Load(model="later")))) == ["engine:later:0", "engine:later:1"]
    assert tree.group(Load(model="demo", alias="x")).id == "model:x"
    with pytest.raises(ModelNotFound, match="no model 'org/m'"):
        tree.configured("org/m")


def test_the_number_of_engines_that_a_command_gives_counts_from_then_on(make_tree):
    tree = make_tree(models=ON_DEMAND)
    asked = Load("later", replicas=3)
    assert len(tree.group(asked).children) == 3
    assert len(tree.configured("later").children) == 2  # it may have been refused
    tree.keep(asked)
    for again in (tree.configured("later"), tree.group(Load("later"))):
        assert [child.labels["replicas"] for child in again.children] == ["3"] * 3
    assert len(tree.group(Load("later", replicas=1)).children) == 1


def test_a_model_of_the_configuration_is_not_replaced_by_another_of_its_name(make_tree):
    tree = make_tree(models=ON_DEMAND)
    for other in (Load("/models/later"), Load("a/b", alias="later"), Load("later", alias="demo")):
        tree.keep(other)
    assert [child.args.source for child in tree.configured("later").children] == ["org/m"] * 2
    assert tree.configured("demo").children[0].args.source == str(demo_folder())
