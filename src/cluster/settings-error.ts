// What is wrong with a setting, for its user.

/** A setting that cannot be; the message is one line that names it and its value. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}
