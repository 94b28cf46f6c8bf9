/**
 * Which names a function takes from outside: the scopes of ECMAScript, in one walk over its syntax tree.
 *
 * A scope collects what is declared and what is used in it, in whatever order they come, and only when
 * it closes hands the uses of names that it does not declare to the scope around it. So hoisting needs
 * no pass of its own: what reaches the outermost scope is free.
 *
 * @module
 */

import type { AnyNode, Class, Function as FunctionNode, Pattern, Property } from "acorn";

/** How a free name is used: the mend depends on it. */
export interface Use {
  /** It is called, constructed, or tags a template somewhere. */
  called: boolean;
  /** It is constructed somewhere: it is a class. */
  constructed: boolean;
  /** It is assigned to somewhere. */
  assigned: boolean;
  /** It occurs only as `typeof name`, which is lawful of names that exist nowhere. */
  probed: boolean;
}

/** What a function has from the place where it was written. */
export interface FreeNames {
  /** The free names, globals among them, in the order in which they were met. */
  names: ReadonlyMap<string, Use>;
  /**
   * Words that mean something only in that place: `this`, `arguments`, `super`, `new.target`,
   * `import.meta`, `eval` if called directly, and private names such as `#count`.
   */
  words: ReadonlySet<string>;
  /** Specifiers of `import()` that are literal text. */
  imports: ReadonlySet<string>;
}

class Scope {
  /** The scope in which `var` declares. */
  readonly vars: Scope;
  readonly uses: Map<string, Use> = new Map();
  readonly #parent: Scope | undefined;
  readonly #declared = new Set<string>();

  constructor(parent: Scope | undefined, holdsVars: boolean) {
    this.#parent = parent;
    this.vars = holdsVars || parent === undefined ? this : parent.vars;
  }

  declare(name: string): void {
    this.#declared.add(name);
  }

  use(name: string, how: Partial<Use>): void {
    const { called = false, constructed = false, assigned = false, probed = false } = how;
    const use = this.uses.get(name);
    if (use === undefined) {
      this.uses.set(name, { called, constructed, assigned, probed });
    } else {
      use.called ||= called;
      use.constructed ||= constructed;
      use.assigned ||= assigned;
      use.probed &&= probed;
    }
  }

  close(): void {
    for (const [name, use] of this.uses) {
      if (!this.#declared.has(name)) this.#parent?.use(name, use);
    }
  }
}

class Walk implements FreeNames {
  readonly words: Set<string> = new Set();
  readonly imports: Set<string> = new Set();
  #scope = new Scope(undefined, true);
  /** Whether `this`, `arguments` and `new.target` belong to a function within the one that is read. */
  #ownThis = false;
  /** Whether `super` belongs to a method within the function that is read. */
  #ownSuper = false;
  /** The private names of the classes around the current node. */
  readonly #privates: Set<string>[] = [];

  get names(): Map<string, Use> {
    return this.#scope.uses;
  }

  visit(node: AnyNode): void {
    switch (node.type) {
      case "Identifier":
        return this.#use(node.name, {});
      case "ThisExpression":
        return this.#word("this", this.#ownThis);
      case "Super":
        return this.#word("super", this.#ownSuper);
      case "PrivateIdentifier":
        return this.#word(`#${node.name}`, this.#privates.some((names) => names.has(node.name)));
      case "MetaProperty":
        return node.meta.name === "import"
          ? this.#word("import.meta", false)
          : this.#word("new.target", this.#ownThis);
      case "ImportExpression":
        if (node.source.type === "Literal") this.imports.add(String(node.source.value));
        if (node.source.type === "TemplateLiteral" && node.source.expressions.length === 0) {
          this.imports.add(String(node.source.quasis[0]?.value.cooked));
        }
        return this.#children(node);
      case "CallExpression":
        // `eval?.()` is an indirect call: it sees globals only.
        if (node.callee.type === "Identifier" && node.callee.name === "eval" && !node.optional) {
          this.#word("eval", false);
        }
        this.#called(node.callee);
        return this.#children(node);
      case "NewExpression":
        this.#called(node.callee, true);
        return this.#children(node);
      case "TaggedTemplateExpression":
        this.#called(node.tag);
        return this.#children(node);
      case "UnaryExpression":
        return node.operator === "typeof" && node.argument.type === "Identifier"
          ? this.#use(node.argument.name, { probed: true })
          : this.visit(node.argument);
      case "MemberExpression":
        this.visit(node.object);
        // A plain property's name is no use of a name; a private one's is.
        if (node.computed || node.property.type === "PrivateIdentifier") this.visit(node.property);
        return;
      case "AssignmentExpression":
        this.#pattern(node.left);
        return this.visit(node.right);
      case "UpdateExpression":
        return this.#pattern(node.argument as Pattern);
      case "LabeledStatement":
        return this.visit(node.body);
      case "BreakStatement":
      case "ContinueStatement":
        return;
      case "VariableDeclaration":
        for (const { id, init } of node.declarations) {
          this.#pattern(id, node.kind === "var" ? this.#scope.vars : this.#scope);
          if (init) this.visit(init);
        }
        return;
      case "FunctionDeclaration":
        if (node.id) this.#scope.declare(node.id.name);
        return this.#function(node);
      case "FunctionExpression":
      case "ArrowFunctionExpression":
        return this.#function(node);
      case "ClassDeclaration":
        if (node.id) this.#scope.declare(node.id.name);
        return this.#class(node);
      case "ClassExpression":
        return this.#class(node);
      case "Property":
      case "MethodDefinition":
        return this.#property(node);
      case "PropertyDefinition":
        if (node.computed) this.visit(node.key);
        return this.#home(true, true, () => node.value && this.visit(node.value));
      case "StaticBlock":
        return this.#scoped(() => this.#home(true, true, () => this.#children(node)), true);
      case "SwitchStatement":
        this.visit(node.discriminant);
        return this.#scoped(() => node.cases.forEach((part) => this.visit(part)));
      case "CatchClause":
        return this.#scoped(() => {
          if (node.param) this.#pattern(node.param, this.#scope);
          this.visit(node.body);
        });
      case "ForInStatement":
      case "ForOfStatement":
        return this.#scoped(() => {
          if (node.left.type === "VariableDeclaration") this.visit(node.left);
          else this.#pattern(node.left);
          this.visit(node.right);
          this.visit(node.body);
        });
      case "BlockStatement":
      case "ForStatement":
        return this.#scoped(() => this.#children(node));
      default:
        return this.#children(node);
    }
  }

  #children(node: AnyNode): void {
    for (const value of Object.values(node)) {
      for (const child of Array.isArray(value) ? value : [value]) {
        if (typeof child?.type === "string") this.visit(child);
      }
    }
  }

  #use(name: string, how: Partial<Use>): void {
    if (name === "arguments") this.#word(name, this.#ownThis);
    else this.#scope.use(name, how);
  }

  #called(callee: AnyNode, constructed = false): void {
    if (callee.type === "Identifier") this.#use(callee.name, { called: true, constructed });
  }

  #word(word: string, own: boolean): void {
    if (!own) this.words.add(word);
  }

  /** Declares the names of a pattern in a scope or, without one, assigns to them. */
  #pattern(node: Pattern | Property, into?: Scope): void {
    switch (node.type) {
      case "Identifier":
        return into ? into.declare(node.name) : this.#use(node.name, { assigned: true });
      case "ObjectPattern":
        return node.properties.forEach((part) => this.#pattern(part as Pattern | Property, into));
      case "Property":
        if (node.computed) this.visit(node.key);
        return this.#pattern(node.value as Pattern, into);
      case "ArrayPattern":
        return node.elements.forEach((part) => part && this.#pattern(part, into));
      case "RestElement":
        return this.#pattern(node.argument, into);
      case "AssignmentPattern":
        this.#pattern(node.left, into);
        return this.visit(node.right);
      default:
        return this.visit(node);
    }
  }

  #function(node: FunctionNode, isMethod = false): void {
    const isArrow = node.type === "ArrowFunctionExpression";
    const read = () => {
      for (const param of node.params) this.#pattern(param, this.#scope);
      // Parameters do not see what the body declares, so the body is a scope of its own.
      this.#scoped(() => {
        if (node.body.type === "BlockStatement") this.#children(node.body);
        else this.visit(node.body);
      }, true);
    };
    this.#scoped(() => {
      if (node.id) this.#scope.declare(node.id.name);
      if (isArrow) this.#scoped(read, true);
      else this.#home(true, isMethod, () => this.#scoped(read, true));
    });
  }

  #class(node: Class): void {
    this.#scoped(() => {
      if (node.id) this.#scope.declare(node.id.name);
      if (node.superClass) this.visit(node.superClass);
      const names = new Set<string>();
      for (const part of node.body.body) {
        if ("key" in part && part.key.type === "PrivateIdentifier") names.add(part.key.name);
      }
      this.#privates.push(names);
      this.visit(node.body);
      this.#privates.pop();
    });
  }

  /** A property of an object, or a method of a class. Its computed key belongs to what is around. */
  #property(node: AnyNode & { type: "Property" | "MethodDefinition" }): void {
    if (node.computed) this.visit(node.key);
    const isMethod = node.type === "MethodDefinition" || node.method || node.kind !== "init";
    if (isMethod) this.#function(node.value as FunctionNode, true);
    else this.visit(node.value);
  }

  #scoped(read: () => void, holdsVars = false): void {
    const outer = this.#scope;
    this.#scope = new Scope(outer, holdsVars);
    read();
    this.#scope.close();
    this.#scope = outer;
  }

  #home(ownThis: boolean, ownSuper: boolean, read: () => void): void {
    const [outerThis, outerSuper] = [this.#ownThis, this.#ownSuper];
    [this.#ownThis, this.#ownSuper] = [ownThis, ownSuper];
    read();
    [this.#ownThis, this.#ownSuper] = [outerThis, outerSuper];
  }
}

/**
 * Finds what a function takes from outside.
 *
 * The function itself counts as a plain function or, if it is an arrow, as an arrow: a method's
 * `super` is therefore reported, since it has no meaning away from its object.
 *
 * @param fn The function's node, of strict-mode code.
 * @returns Its free names, and the words that have a meaning only where it was written.
 */
export function freeNames(fn: AnyNode): FreeNames {
  const walk = new Walk();
  walk.visit(fn);
  return walk;
}
