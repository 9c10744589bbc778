// The HTTP endpoints that `parley dev` has for this page and a production gateway does not have: a list of
// tenants, and tokens for any user.
import type { PageIdentity } from './page-identity.js'
import { isJsonObject, textOrEmpty } from './json.js'

export interface DevTenant {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  readonly displayName: string
  readonly guests: boolean
  /** Rooms that the page suggests. The tenant's channel rules decide whether the user can join them. */
  readonly rooms: readonly string[]
}

/** The server refused a token. The message is the server's, and another attempt would be refused too. */
export class TokenRefused extends Error {
  override readonly name = 'TokenRefused'
}

/** Returns the tenants of the server. Rejects when the server cannot be reached or does not return a list. */
export async function fetchTenants(): Promise<readonly DevTenant[]> {
  const response = await fetch('/dev/tenants')
  const list: unknown = await response.json()
  if (!response.ok || !Array.isArray(list))
    throw new Error(`the gateway answered GET /dev/tenants with status ${response.status}`)
  return list.filter(isJsonObject).map(parseTenant)
}

function parseTenant(record: Readonly<Record<string, unknown>>): DevTenant {
  const tenant = textOrEmpty(record['tenant'])
  const rooms = Array.isArray(record['rooms']) ? record['rooms'].map(textOrEmpty) : []
  return {
    tenant,
    displayName: textOrEmpty(record['displayName']) || tenant,
    guests: record['guests'] === true,
    rooms,
  }
}

/**
 * Returns a token for `identity`. Rejects with TokenRefused when the server refuses, and with another error
 * when another attempt can succeed.
 */
export async function fetchToken(identity: PageIdentity): Promise<string> {
  const { tenant, user, claims } = identity
  const response = await fetch('/dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tenant, user, claims }),
  })
  const body: unknown = await response.json().catch(() => undefined)
  if (response.ok && isJsonObject(body) && typeof body['token'] === 'string') return body['token']
  const message = isJsonObject(body) ? textOrEmpty(body['message']) : ''
  if (response.status < 500 || response.status === 501)
    throw new TokenRefused(message || `The gateway refused a token with status ${response.status}.`)
  throw new Error(message || `The gateway answered with status ${response.status}`)
}

export interface Diagnosis {
  readonly status: number
  readonly message: string
}

/**
 * Returns why a WebSocket was refused. A browser does not show a page the response to a refused upgrade, so
 * Parley gives the same response to a plain GET of the same address. Undefined when a WebSocket would be
 * accepted there (426), or when the gateway does not respond.
 */
export async function diagnose(webSocketUrl: string): Promise<Diagnosis | undefined> {
  try {
    const response = await fetch(webSocketUrl.replace(/^ws/u, 'http'))
    const body: unknown = await response.json()
    if (response.status === 426 || !isJsonObject(body)) return undefined
    return { status: response.status, message: textOrEmpty(body['message']) }
  } catch {
    return undefined
  }
}
