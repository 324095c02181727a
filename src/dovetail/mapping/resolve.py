"""The raw tree → the tree that is compiled: dots become paths of steps, predicates their stages, `%` finds its step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .errors import MappingError
from .nodes import Node, Slot


def fault(code: str, node: Node, **details: Any) -> MappingError:
    return MappingError(code, position=node.position, start=node.start, **details)


def path(*steps: Node) -> Node:
    first = steps[0]
    node = Node("path", None, first.position, first.start)
    node.steps = list(steps)
    return node


class Resolver:
    """Works on one tree. A node is used in place where it stays what it is."""

    def __init__(self) -> None:
        self.labels = 0
        self.ancestry: list[Node] = []

    def run(self, tree: Node) -> Node:
        result = self.node(tree)
        if result.type == "parent" or result.seeking is not None:
            raise fault("S0217", result, token=result.type)
        return result

    def node(self, node: Node) -> Node:
        if node.type == "binary" and node.value in (".", "&"):
            self.chain(node)
        handler: Callable[[Node], Node] | None = getattr(self, "_" + node.type.strip("()"), None)
        if handler is None:
            raise fault("S0206", node, token=node.value)
        result = handler(node)
        if node.keep_array:
            result.keep_array = True
        return result

    def chain(self, node: Node) -> None:
        """Resolve a long chain of one operator from its far end, so that it is not descended into."""
        links = [node]
        while links[-1].lhs.type == "binary" and links[-1].lhs.value == node.value:
            links.append(links[-1].lhs)
        for upper, lower in zip(reversed(links[:-1]), reversed(links[1:]), strict=True):
            done = self._dot(lower) if node.value == "." else self._plain(lower)
            if lower.keep_array:
                done.keep_array = True
            upper.lhs = Node("resolved", done)

    def _resolved(self, node: Node) -> Node:
        found: Node = node.value
        return found

    def _end(self, node: Node) -> Node:
        raise fault("S0207", node, token=node.value)

    def _leaf(self, node: Node) -> Node:
        return node

    _string = _number = _value = _wildcard = _descendant = _variable = _regex = _hole = _leaf

    def _operator(self, node: Node) -> Node:
        if node.value not in ("and", "or", "in"):
            raise fault("S0201", node, token=node.value)
        node.type = "name"
        return self._name(node)

    def _name(self, node: Node) -> Node:
        result = path(node)
        result.keep_singleton = node.keep_array
        return result

    def _parent(self, node: Node) -> Node:
        node.slot = Slot(f"!{self.labels}", 1, self.labels)
        self.labels += 1
        self.ancestry.append(node)
        return node

    def _binary(self, node: Node) -> Node:
        handler: Callable[[Node], Node] | None = {
            ".": self._dot,
            "[": self._filter,
            "{": self._group,
            "^": self._sort,
            ":=": self._bind,
            "@": self._focus,
            "#": self._index,
            "~>": self._apply,
        }.get(node.value)
        if handler is not None:
            return handler(node)
        return self._plain(node)

    def _plain(self, node: Node) -> Node:
        node.lhs = self.node(node.lhs)
        node.rhs = self.node(node.rhs)
        self.push(node, node.lhs)
        self.push(node, node.rhs)
        return node

    def _dot(self, node: Node) -> Node:
        left = self.node(node.lhs)
        result = left if left.type == "path" else path(left)
        seen = len(result.steps) - 1 if left.type == "path" and node.lhs.type == "resolved" else 0
        if left.type == "parent" and left.slot is not None:
            result.seeking = [left.slot]
        rest = self.node(node.rhs)
        if rest.type == "path":
            result.steps.extend(rest.steps)
        else:
            if rest.predicate is not None:
                rest.stages, rest.predicate = rest.predicate, None
            result.steps.append(rest)
        for step in result.steps[seen:]:
            if step.type in ("number", "value"):
                raise fault("S0213", step, value=step.value)
            if step.type == "string":
                step.type = "name"
            if step.keep_array:
                result.keep_singleton = True
        for edge in (result.steps[0], result.steps[-1]):
            if edge.type == "unary" and edge.value == "[":
                edge.consarray = True
        self.ancestors(result)
        return result

    def _filter(self, node: Node) -> Node:
        result = self.node(node.lhs)
        step = result
        field = "predicate"
        if result.type == "path":
            step = result.steps[-1]
            field = "stages"
        if step.group is not None:
            raise fault("S0209", node)
        test = self.node(node.rhs)
        if test.seeking is not None:
            for slot in test.seeking:
                if slot.level == 1:
                    self.seek(step, slot)
                else:
                    slot.level -= 1
            self.push(step, test)
        stage = Node("filter", None, node.position, node.start)
        stage.expression = test
        setattr(step, field, [*(getattr(step, field) or ()), stage])
        return result

    def _group(self, node: Node) -> Node:
        result = self.node(node.lhs)
        if result.group is not None:
            raise fault("S0210", node)
        made = Node("group", None, node.position, node.start)
        made.pairs = [(self.node(key), self.node(value)) for key, value in node.pairs]
        result.group = made
        return result

    def _sort(self, node: Node) -> Node:
        left = self.node(node.lhs)
        result = left if left.type == "path" else path(left)
        step = Node("sort", None, node.position, node.start)
        for term in node.terms:
            term.expression = self.node(term.expression)
            self.push(step, term.expression)
            step.terms.append(term)
        result.steps.append(step)
        self.ancestors(result)
        return result

    def _bind(self, node: Node) -> Node:
        node.type = "bind"
        node.lhs = self.node(node.lhs)
        node.rhs = self.node(node.rhs)
        self.push(node, node.rhs)
        return node

    def _focus(self, node: Node) -> Node:
        result = self.node(node.lhs)
        step = result.steps[-1] if result.type == "path" else result
        if step.stages is not None or step.predicate is not None:
            raise fault("S0215", node)
        if step.type == "sort":
            raise fault("S0216", node)
        if node.keep_array:
            step.keep_array = True
        step.focus = node.rhs.value
        step.tuple = True
        return result

    def _index(self, node: Node) -> Node:
        result = self.node(node.lhs)
        if result.type == "path":
            step = result.steps[-1]
        else:
            step = result
            result = path(step)
            if step.predicate is not None:
                step.stages, step.predicate = step.predicate, None
        if step.stages is None:
            step.index = node.rhs.value
        else:
            step.stages.append(Node("index", node.rhs.value, node.position, node.start))
        step.tuple = True
        return result

    def _apply(self, node: Node) -> Node:
        node.type = "apply"
        node.lhs = self.node(node.lhs)
        node.rhs = self.node(node.rhs)
        node.keep_array = node.lhs.keep_array or node.rhs.keep_array
        return node

    def _unary(self, node: Node) -> Node:
        if node.value == "[":
            node.expressions = [self.below(node, item) for item in node.expressions]
            return node
        if node.value == "{":
            node.pairs = [(self.below(node, key), self.below(node, value)) for key, value in node.pairs]
            return node
        node.expression = self.node(node.expression)
        if node.expression.type == "number":
            number: Node = node.expression
            number.value = -number.value
            return number
        self.push(node, node.expression)
        return node

    def _function(self, node: Node) -> Node:
        node.arguments = [self.below(node, argument) for argument in node.arguments]
        node.procedure = self.node(node.procedure)
        return node

    _partial = _function

    def _lambda(self, node: Node) -> Node:
        node.procedure = None
        node.body = tail(self.node(node.body))
        return node

    def _condition(self, node: Node) -> Node:
        if node.condition is not None:
            node.condition = self.below(node, node.condition)
        node.then = self.below(node, node.then)
        if node.otherwise is not None:
            node.otherwise = self.below(node, node.otherwise)
        return node

    def _transform(self, node: Node) -> Node:
        node.pattern = self.node(node.pattern)
        node.update = self.node(node.update)
        if node.delete is not None:
            node.delete = self.node(node.delete)
        return node

    def _block(self, node: Node) -> Node:
        node.expressions = [self.below(node, item) for item in node.expressions]
        node.consarray = any(
            part.consarray or (part.type == "path" and part.steps[0].consarray) for part in node.expressions
        )
        return node

    def below(self, node: Node, child: Node) -> Node:
        """Resolve a child and let its open `%` climb."""
        result = self.node(child)
        self.push(node, result)
        return result

    # `%`: each open one (a slot) climbs until it meets the step whose context it stands for

    def push(self, result: Node, value: Node) -> None:
        if value.seeking is None and value.type != "parent":
            return
        slots = value.seeking if value.seeking is not None else []
        if value.type == "parent" and value.slot is not None:
            slots.append(value.slot)
        if result.seeking is None:
            result.seeking = slots
        else:
            result.seeking.extend(slots)

    def seek(self, node: Node, slot: Slot) -> Slot:
        if node.type in ("name", "wildcard"):
            slot.level -= 1
            if slot.level == 0:
                if node.ancestor is not None:
                    found = self.ancestry[slot.index].slot
                    assert found is not None
                    found.label = node.ancestor.label
                node.ancestor = slot
                node.tuple = True
        elif node.type == "parent":
            slot.level += 1
        elif node.type == "block":
            if node.expressions:
                node.tuple = True
                slot = self.seek(node.expressions[-1], slot)
        elif node.type == "path":
            node.tuple = True
            index = len(node.steps) - 1
            slot = self.seek(node.steps[index], slot)
            while slot.level > 0 and index > 0:
                index -= 1
                slot = self.seek(node.steps[index], slot)
        else:
            raise fault("S0217", node, token=node.type)
        return slot

    def ancestors(self, whole: Node) -> None:
        last = whole.steps[-1]
        slots = last.seeking if last.seeking is not None else []
        if last.type == "parent" and last.slot is not None:
            slots.append(last.slot)
        for slot in slots:
            index = len(whole.steps) - 2
            while slot.level > 0:
                if index < 0:
                    whole.seeking = [*(whole.seeking or ()), slot]
                    break
                step = whole.steps[index]
                index -= 1
                while index >= 0 and step.focus and whole.steps[index].focus:
                    step = whole.steps[index]
                    index -= 1
                slot = self.seek(step, slot)


def tail(node: Node) -> Node:
    """Mark the calls that a lambda's body ends with."""
    if node.type == "function" and node.predicate is None:
        node.thunk = True
    elif node.type == "condition":
        node.then = tail(node.then)
        if node.otherwise is not None:
            node.otherwise = tail(node.otherwise)
    elif node.type == "block" and node.expressions:
        node.expressions[-1] = tail(node.expressions[-1])
    return node
