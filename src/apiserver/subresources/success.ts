// The Status that says that it was done.
export const success = (code: number): { kind: 'Status'; status: 'Success'; [field: string]: unknown } => ({
  kind: 'Status',
  apiVersion: 'v1',
  metadata: {},
  status: 'Success',
  code,
});
