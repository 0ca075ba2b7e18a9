// $(VAR) references in commands, arguments and environment values. Pure. Rules: kubernetes third_party/forked/golang/expansion.

/** `$(NAME)` becomes the value; an unknown reference stays as it is; `$$` is a dollar sign. */
export function expand(text: string, lookup: (name: string) => string | undefined): string {
  return text.replace(/\$(?:\$|\(([^)]*)\))/g, (whole: string, name: string | undefined) =>
    name === undefined ? '$' : (lookup(name) ?? whole),
  );
}
