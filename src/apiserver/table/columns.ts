// What a table column is (meta.k8s.io TableColumnDefinition), and short ways to write one.

export interface Column {
  readonly name: string;
  readonly type: string;
  /** `name` marks the column that names the object. */
  readonly format: string;
  readonly description: string;
  /** 0 is always shown, 1 with `-o wide`. */
  readonly priority: number;
}

export const text = (name: string, priority = 0): Column => ({
  name,
  type: 'string',
  format: '',
  description: '',
  priority,
});
export const number = (name: string, priority = 0): Column => ({ ...text(name, priority), type: 'integer' });
export const nameColumn: Column = { ...text('Name'), format: 'name' };
export const age = text('Age');

export type Cell = string | number | boolean | null;
