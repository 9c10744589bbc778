// What `parley dev` offers to its own page and no real installation has: a list of tenants, and tokens for the asking.
import type { Identity } from './identity.js'
import { isJsonObject, textOf } from './json.js'

export interface Tenant {
  /** `<namespace>/<name>`. */
  readonly tenant: string
  readonly displayName: string
  readonly guests: boolean
  /** Worth trying: the rules decide. */
  readonly rooms: readonly string[]
}

/** The server's no, in its own words. Not to be tried again. */
export class Refused extends Error {
  override readonly name = 'Refused'
}

/** Rejects when the server cannot be reached or answers something else. */
export async function fetchTenants(): Promise<readonly Tenant[]> {
  const answer = await fetch('/dev/tenants')
  const list: unknown = await answer.json()
  if (!answer.ok || !Array.isArray(list))
    throw new Error(`The gateway answered ${answer.status} to /dev/tenants`)
  return list.filter(isJsonObject).map(parseTenant)
}

function parseTenant(record: Readonly<Record<string, unknown>>): Tenant {
  const tenant = textOf(record['tenant'])
  const rooms = Array.isArray(record['rooms']) ? record['rooms'].map(textOf) : []
  return {
    tenant,
    displayName: textOf(record['displayName']) || tenant,
    guests: record['guests'] === true,
    rooms,
  }
}

/** A token for `identity`. Rejects with Refused when the server says no, and with another error when trying again may help. */
export async function fetchToken(identity: Identity): Promise<string> {
  const { tenant, user, claims } = identity
  const answer = await fetch('/dev/token', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tenant, user, claims }),
  })
  const body: unknown = await answer.json().catch(() => undefined)
  if (answer.ok && isJsonObject(body) && typeof body['token'] === 'string') return body['token']
  const sentence = isJsonObject(body) ? textOf(body['message']) : ''
  if (answer.status < 500 || answer.status === 501)
    throw new Refused(sentence || `No token: the gateway answered ${answer.status}.`)
  throw new Error(sentence || `The gateway answered ${answer.status}`)
}

export interface Diagnosis {
  readonly status: number
  readonly message: string
}

/**
 * Why a WebSocket was refused. A browser shows no page the answer to a refused upgrade, so Parley gives the same answer to a plain
 * GET of the same address. Undefined: nothing is wrong there (426), or nobody answers.
 */
export async function diagnose(webSocketUrl: string): Promise<Diagnosis | undefined> {
  try {
    const answer = await fetch(webSocketUrl.replace(/^ws/u, 'http'))
    const body: unknown = await answer.json()
    if (answer.status === 426 || !isJsonObject(body)) return undefined
    return { status: answer.status, message: textOf(body['message']) }
  } catch {
    return undefined
  }
}
