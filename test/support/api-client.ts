// A client of the server API for tests, over real HTTP, and API keys for test policies.
import { hashApiKey } from '../../src/tenant/api-key.js'
import type { ApiKey } from '../../src/tenant/policy.js'

export const adminKey = 'parley_test-key-of-an-administrator-of-acme'

export function apiKey(key = adminKey, overrides: Partial<ApiKey> = {}): ApiKey {
  return { id: 'id', credential: 'bot', sha256: hashApiKey(key), role: 'Admin', scopes: [], ...overrides }
}

export interface ApiResponse {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

export interface ApiEndpoint {
  readonly port: number
}

export interface ApiCallOptions {
  readonly key?: string
  readonly tenant?: string
  /** Headers in addition to, or instead of, the key and the content type. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Calls a method. `fields`: an object, or the exact text of the body. */
export async function callApi(
  { port }: ApiEndpoint,
  method: string,
  fields: object | string = {},
  { headers = {}, key = adminKey, tenant = 'demo/acme' }: ApiCallOptions = {},
): Promise<ApiResponse> {
  const response = await fetch(`http://127.0.0.1:${port}/${tenant}/api/${method}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== '' && { 'x-api-key': key }), ...headers },
    body: typeof fields === 'string' ? fields : JSON.stringify(fields),
  })
  const body = (await response.json()) as Record<string, unknown>
  return { status: response.status, headers: response.headers, body }
}

/** Calls a method and resolves to its result. Rejects when there is none. */
export async function apiResult(
  endpoint: ApiEndpoint,
  method: string,
  fields: object = {},
  options: ApiCallOptions = {},
): Promise<Record<string, unknown>> {
  const { body, status } = await callApi(endpoint, method, fields, options)
  if (status !== 200 || body['result'] === undefined)
    throw new Error(`${method} was answered ${status} ${JSON.stringify(body)}`)
  return body['result'] as Record<string, unknown>
}

/** Calls a method and resolves to its error. Rejects when there is none. */
export async function apiError(
  endpoint: ApiEndpoint,
  method: string,
  fields: object | string = {},
  options: ApiCallOptions = {},
): Promise<{ code: number; message: string }> {
  const { body, status } = await callApi(endpoint, method, fields, options)
  if (status !== 200 || body['error'] === undefined)
    throw new Error(`${method} was answered ${status} ${JSON.stringify(body)}`)
  return body['error'] as { code: number; message: string }
}
