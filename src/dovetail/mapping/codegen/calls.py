"""Functions: calls, lambdas, `~>`, partial application, transforms."""

from __future__ import annotations

from ..nodes import Node
from ..values import Native
from .coder import Base, Ctx, Val
from .scope import Scope, Variable
from .trail import Trail

#: results of built-ins that are surely of one kind when they are there at all
KINDS = {"s": "str", "b": "bool", "n": "flat"}
#: built-ins to which a sequence and an array are the same
AGGREGATES = ("sum", "count", "max", "min", "average", "join")


class Calls(Base):
    """Emits calls. Built-ins that nothing hides are bound at compile time."""

    def _function(self, node: Node, ctx: Ctx) -> Val:
        return self.function(node, ctx, None)

    def function(self, node: Node, ctx: Ctx, first: Val | None, tail: bool = False) -> Val:
        """A call's raw answer. `first` is what `~>` puts before the arguments."""
        procedure = node.procedure
        native = None
        if procedure.type == "variable" and not procedure.predicate and procedure.group is None:
            native = self.builtin(procedure.value)
        token = self.token(procedure)
        if native is not None and not (tail and self.recursive(native, node, first)):
            return self.native(node, ctx, first, native, token)
        before = self.mark(node, token)
        ident = self.out.ident
        function = self.stable_name(self.value(procedure, ctx))
        args = self.arguments(node, ctx, first)
        self.out.ident = ident
        name = self.temp()
        if tail:
            tuple_ = f"({', '.join(args)}{',' if args else ''})"
            self.emit(f"{name} = TailCall({function}, {tuple_}, {ident})")
            self.out.ident = before
            return Val(name)
        if procedure.type == "path":
            hint = procedure.steps[0].value
            known = hint in self.functions
            self.emit(f"if {function} is U: missing({self.const(str(hint))}, {known}, 'T1005')")
        depth = self.depth
        self.emit(f"S.depth += {depth}")
        self.emit(f"{name} = {self.invocation(function, args, ctx)}")
        self.emit(f"if {name}.__class__ is TailCall: {name} = bounce(S, {name}, {ctx.name})")
        self.emit(f"S.depth -= {depth}")
        self.out.ident = before
        return Val(name)

    def invocation(self, function: str, args: list[str], ctx: Ctx) -> str:
        joined = ", ".join(args)
        return (
            f"{function}.run({joined}) if {function}.__class__ is Lambda and {function}.arity == {len(args)} "
            f"and {function}.signature is None else invoke(S, {function}, ({joined}{',' if args else ''}), {ctx.name})"
        )

    def recursive(self, native: Native, node: Node, first: Val | None) -> bool:
        """Whether a built-in in tail position must be left to the caller, whose context it may take."""
        given = len(node.arguments) + (first is not None)
        return native.contextual and given < len(native.signature.parameters)

    def token(self, procedure: Node) -> str | None:
        if procedure.type == "path":
            return str(procedure.steps[0].value)
        return str(procedure.value) if procedure.value is not None else None

    def stable_name(self, value: Val) -> str:
        if value.name.isidentifier() and not value.name.startswith("v"):
            return value.name
        name = self.temp()
        self.emit(f"{name} = {value.name}")
        return name

    def arguments(
        self, node: Node, ctx: Ctx, first: Val | None, plain: bool = False, trails: list[Trail | None] | None = None
    ) -> list[str]:
        """The arguments' names. With `plain` the first may be a list where a sequence was meant."""
        names = [] if first is None else [first.name]
        for argument in node.arguments:
            if plain and not names and argument.type == "path" and not argument.keep_array and argument.group is None:
                found = self.plain_list(argument, ctx)
                names.append(found.name)
                if trails is not None:
                    trails.append(found.trail)
                continue
            value = self.value(argument, ctx)
            if trails is not None:
                trails.append(value.trail)
            names.append(value.name if value.name[0] == "k" and value.name.isidentifier() else self.stable_name(value))
        return names

    def plain_list(self, node: Node, ctx: Ctx) -> Val:
        raise NotImplementedError

    def native(self, node: Node, ctx: Ctx, first: Val | None, native: Native, token: str | None) -> Val:
        """A call of a known built-in: straight to it once its argument types have been seen to fit."""
        before = self.mark(node, token)
        ident = self.out.ident
        trails: list[Trail | None] = [] if first is None else [first.trail]
        args = self.arguments(node, ctx, first, native.name in AGGREGATES, trails)
        self.places[ident].trails = tuple(trails)
        self.out.ident = ident
        name = self.temp()
        if native.name == "eval":
            self.emit(f"S.scope = ({ctx.name}, known({self.visible()}))")
        deep = (
            native.stateful
            and native.signature is not None
            and any("f" in one.type for one in native.signature.parameters)
        )
        if deep:
            self.emit(f"S.depth += {self.depth}")
        self.emit(f"{name} = {self.checked(native, args, ctx)}")
        if deep:
            self.emit(f"S.depth -= {self.depth}")
        self.out.ident = before
        return Val(name, KINDS.get(native.answer, "any"))

    def checked(self, native: Native, args: list[str], ctx: Ctx) -> str:
        """The call itself: straight in once the argument types have been seen to fit, else by way of the signature."""
        made = self.out.object(native)
        listed = ", ".join(args)
        whole = f"({listed}{',' if args else ''})"
        if native.quick is not None and len(args) in native.quick_arity:
            name = self.temp()
            self.emit(f"{name} = {self.out.object(native.quick)}({listed})")
            return f"{name} if {name} is not HOLE else native(S, {made}, {whole}, {ctx.name})"
        varying = [place for place, one in enumerate(args) if one[0] != "k"]
        state = "S, " if native.stateful else ""
        run = self.out.object(native.run)
        if native.signature is None:
            return f"native(S, {made}, {whole}, {ctx.name})"
        if not args and native.contextual and native.signature.parameters[0].context:
            fit = self.out.object(native.fits.setdefault("context", set()))
            slow = f"learn_context(S, {made}, {ctx.name}, {fit})"
            return f"{run}({state}{ctx.name}) if {ctx.name}.__class__ in {fit} else {slow}"
        constant = tuple((place, self.constant_class(one)) for place, one in enumerate(args) if one[0] == "k")
        fit = self.out.object(native.fits.setdefault((len(args), constant), set()))
        classes = ", ".join(f"{args[place]}.__class__" for place in varying)
        classes = classes if len(varying) == 1 else f"({classes})"
        slow = f"learn(S, {made}, {whole}, {ctx.name}, {fit}, {tuple(varying)})"
        return f"{run}({state}{listed}) if {classes} in {fit} else {slow}"

    def constant_class(self, name: str) -> type:
        return type(self.out.constants[int(name[1:])])

    def visible(self) -> str:
        """The variables in sight, for `$eval`."""
        found: dict[str, str] = {}
        scope: Scope | None = self.scope
        while scope is not None:
            for name, variable in scope.variables.items():
                found.setdefault(name, variable.name)
            scope = scope.parent
        return "{" + ", ".join(f"{self.const(name)}: {one}" for name, one in found.items()) + "}"

    def _apply(self, node: Node, ctx: Ctx) -> Val:
        first = self.atom(self.value(node.lhs, ctx))
        if first.name.startswith("v"):
            first = Val(self.stable_name(first))
        if node.rhs.type == "function":
            return self.function(node.rhs, ctx, first)
        function = self.stable_name(self.value(node.rhs, ctx))
        before = self.mark(node, "~>")
        name = self.temp()
        self.emit(f"S.depth += {self.depth}")
        self.emit(f"{name} = chain(S, {first.name}, {function})")
        self.emit(f"S.depth -= {self.depth}")
        self.out.ident = before
        return Val(name)

    def _partial(self, node: Node, ctx: Ctx) -> Val:
        args = []
        for argument in node.arguments:
            args.append("HOLE" if argument.type == "hole" else self.stable_name(self.value(argument, ctx)))
        before = self.mark(node, self.token(node.procedure))
        function = self.stable_name(self.value(node.procedure, ctx))
        if node.procedure.type == "path":
            hint = node.procedure.steps[0].value
            self.emit(f"if {function} is U: missing({self.const(str(hint))}, {hint in self.functions}, 'T1007')")
        name = self.temp()
        self.emit(f"{name} = partial(S, {function}, ({', '.join(args)},))")
        self.out.ident = before
        return Val(name, "fun", False)

    def _lambda(self, node: Node, ctx: Ctx) -> Val:
        names = [self.out.temp("v") for _ in node.arguments]
        made = self.out.begin(names, "l")
        before, self.scope = self.scope, Scope(self.scope, made)
        straight = self.straight
        depth, self.depth = self.depth, 0
        for parameter, name in zip(node.arguments, names, strict=True):
            self.scope.variables[parameter.value] = Variable(name, made, True)
        self.mark(node)
        self.emit("S.left -= 1")
        self.emit("if S.left < 0: S.tick()")
        self.emit(f"if S.depth >= {int(self.limits.depth)}: S.deep()")
        self.straight = False
        self.declare(self.scope, node)
        self.ending(node.body, ctx)
        self.scope = before
        self.straight = straight
        self.depth = depth
        self.out.end()
        signature = "None" if node.signature is None else self.out.object(node.signature)
        name = self.temp()
        self.emit(f"{name} = Lambda({made.name}, {len(names)}, {signature})")
        return Val(name, "fun", False)

    straight = False

    def ending(self, node: Node, ctx: Ctx) -> None:
        """The end of a lambda's body, where a call is left to the caller."""
        self.depth += 1
        if node.type == "function" and node.thunk:
            value = self.function(node, ctx, None, tail=True)
            if value.name.isidentifier():
                # not settled: what a call in tail position collected reaches the caller as it is
                self.emit(f"return {value.name}")
        elif node.type == "condition" and not node.predicate and node.group is None and node.value == "?":
            test = self.test(node.condition, ctx)
            self.out.open(f"if {test}:")
            self.ending(node.then, ctx)
            self.out.close()
            if node.otherwise is None:
                self.emit("return U")
            else:
                self.ending(node.otherwise, ctx)
        elif node.type == "block" and node.expressions and not node.predicate and node.group is None:
            before, self.scope = self.scope, Scope(self.scope, self.out.current)
            self.declare(self.scope, node)
            for part in node.expressions[:-1]:
                self.straight = part.type == "bind"
                self.value(part, ctx)
            self.straight = False
            self.ending(node.expressions[-1], ctx)
            self.scope = before
        else:
            self.depth -= 1
            self.emit(f"return {self.value(node, ctx).name}")
            return
        self.depth -= 1

    def test(self, node: Node, ctx: Ctx) -> str:
        raise NotImplementedError

    def _transform(self, node: Node, ctx: Ctx) -> Val:
        clone = self.variable("clone").name
        parts: list[str] = []
        before = self.out.ident
        for part in (node.pattern, node.update, node.delete):
            if part is None:
                parts.append("None")
                continue
            item = self.out.temp("x")
            made = self.out.begin([item])
            self.mark(part)
            value = self.value(part, Ctx(item))
            self.emit(f"return {value.name}")
            self.out.end()
            parts.append(made.name)
        self.mark(node)
        name = self.temp()
        self.emit(f"{name} = transformer(S, {clone}, {', '.join(parts)}, None)")
        self.out.ident = before
        return Val(name, "fun", False)
