/** How a caller wants to log in to a node: read from a message or a form. There is no password but the caller's. Pure. */
import { badRequest } from '../../api/status.ts';

/** What a caller brings for the node's sshd. */
export interface Login {
  /** The account; asked for in the terminal when it is missing. */
  user: string | undefined;
  password: string | undefined;
  /** The text of a private key, and what opens it. */
  privateKey: string | undefined;
  passphrase: string | undefined;
  /** The line of an OpenSSH certificate for that key. */
  certificate: string | undefined;
  /** Whether the API server is to make a key and a certificate for this one login. */
  issue: boolean;
}

/** Nothing at all: the terminal asks. */
export const NO_LOGIN: Login = {
  user: undefined,
  password: undefined,
  privateKey: undefined,
  passphrase: undefined,
  certificate: undefined,
  issue: false,
};

/** Accounts as Linux has them; a user name goes into logs and certificates. */
const USER = /^[A-Za-z0-9_][-A-Za-z0-9_.@]{0,63}$/u;
const MAX_SECRET_LENGTH = 1024;
/** A key of 16,384 RSA bits has 12,700 characters. */
const MAX_KEY_LENGTH = 14_000;

/** Reads the fields of a login; throws a 400 Status that names the wrong one and never shows what it holds. */
export function readLogin(fields: Readonly<Record<string, unknown>>): Login {
  const text = (key: string, maxLength: number): string | undefined => {
    const value = fields[key];
    if (value === undefined || value === null || value === '') return undefined;
    if (typeof value !== 'string' || value.length > maxLength)
      throw badRequest(`${key}: wanted a text of up to ${maxLength} characters`);
    return value;
  };
  const user = text('user', 64);
  if (user !== undefined && !isAccount(user)) throw badRequest('user: that is no name of an account');
  const { issue } = fields;
  const login: Login = {
    user,
    password: text('password', MAX_SECRET_LENGTH),
    privateKey: text('private_key', MAX_KEY_LENGTH),
    passphrase: text('passphrase', MAX_SECRET_LENGTH),
    certificate: text('certificate', MAX_KEY_LENGTH),
    issue: issue === true || issue === 'true',
  };
  if (login.certificate !== undefined && login.privateKey === undefined)
    throw badRequest('certificate: it needs the private_key that it was made for');
  return login;
}

/** Whether a text can be the name of an account. */
export function isAccount(text: string): boolean {
  return USER.test(text);
}
