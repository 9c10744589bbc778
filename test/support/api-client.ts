// A tenant's backend, for tests: real HTTP, and a policy with keys for it.
import { hashApiKey } from '../../src/tenant/api-key.js'
import type { ApiKey } from '../../src/tenant/policy.js'

export const adminKey = 'parley_test-key-of-an-administrator-of-acme'

export function apiKey(key = adminKey, overrides: Partial<ApiKey> = {}): ApiKey {
  return { id: 'id', credential: 'bot', sha256: hashApiKey(key), role: 'Admin', scopes: [], ...overrides }
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

export interface ApiDoor {
  readonly port: number
}

export interface Asking {
  readonly key?: string
  readonly tenant?: string
  /** Beside the key and the type, or instead of them. */
  readonly headers?: Readonly<Record<string, string>>
}

/** `fields`: an object, or the body as it shall be. */
export async function askApi(
  { port }: ApiDoor,
  method: string,
  fields: object | string = {},
  { headers = {}, key = adminKey, tenant = 'demo/acme' }: Asking = {},
): Promise<ApiAnswer> {
  const response = await fetch(`http://127.0.0.1:${port}/${tenant}/api/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== '' && { 'x-api-key': key }), ...headers },
    body: typeof fields === 'string' ? fields : JSON.stringify(fields),
  })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body }
}

/** The result; throws what went wrong instead. */
export async function apiResult(
  door: ApiDoor,
  method: string,
  fields: object = {},
  asking: Asking = {},
): Promise<Record<string, unknown>> {
  const { body, status } = await askApi(door, method, fields, asking)
  if (status !== 200 || body['result'] === undefined)
    throw new Error(`${method} was answered ${status} ${JSON.stringify(body)}`)
  return body['result'] as Record<string, unknown>
}

export async function apiError(
  door: ApiDoor,
  method: string,
  fields: object | string = {},
  asking: Asking = {},
): Promise<{ code: number; message: string }> {
  const { body, status } = await askApi(door, method, fields, asking)
  if (status !== 200 || body['error'] === undefined)
    throw new Error(`${method} was answered ${status} ${JSON.stringify(body)}`)
  return body['error'] as { code: number; message: string }
}
