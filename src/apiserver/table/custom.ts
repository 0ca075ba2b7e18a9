// Tables of custom resources (additionalPrinterColumns), and of kinds without columns of their own.
import type { ApiObject } from '../object.ts';
import { age, type Cell, type Column, nameColumn } from './columns.ts';
import { ageOf } from './duration.ts';
import { findAll, parseJsonPath } from './json-path.ts';
import type { Printer } from './table.ts';

export const plainPrinter: Printer = {
  columns: [nameColumn, age],
  cells: ({ metadata }, now) => [metadata.name ?? '', ageOf(metadata.creationTimestamp, now)],
};

/** Name, then the columns that the definition names; Age where it names none. */
export function customPrinter(columns: readonly { column: Column; path: string }[]): Printer {
  if (columns.length === 0) return plainPrinter;
  const parsed = columns.map(({ column, path }) => ({ column, steps: parseJsonPath(path) }));
  return {
    columns: [nameColumn, ...columns.map(({ column }) => column)],
    cells: (object, now) => [
      object.metadata.name ?? '',
      ...parsed.map(({ column, steps }) => (steps === undefined ? '' : cellOf(object, column, steps, now))),
    ],
  };
}

function cellOf(
  object: ApiObject,
  { type }: Column,
  steps: NonNullable<ReturnType<typeof parseJsonPath>>,
  now: number,
): Cell {
  const found = findAll(object, steps);
  const [first] = found;
  if (first === undefined) return null;
  if (type === 'integer' || type === 'number') return typeof first === 'number' ? first : null;
  if (type === 'boolean') return typeof first === 'boolean' ? first : null;
  if (type === 'date') return typeof first === 'string' ? ageOf(first, now) : '<unknown>';
  return found.map((value) => (typeof value === 'object' ? JSON.stringify(value) : String(value))).join(',');
}
