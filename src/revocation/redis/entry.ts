// A revocation as Redis stores it: see scripts.ts.
import { isRevocationName, revocationName, type Revocation } from '../../tenant/revocations.js'

/** Returns a time as an entry holds it. */
export function timeText(ms: number | undefined): string {
  return ms === undefined ? '-' : String(ms)
}

/** A change of one revocation. Without `revocation` it has ended. */
export interface RevocationChange {
  readonly name: string
  readonly revocation: Revocation | undefined
}

/** Parses an entry, or a name alone. Returns undefined for those of a kind that a newer version added. */
export function parseEntry(text: string): RevocationChange | undefined {
  const [name = '', times] = text.split('\n')
  if (times === undefined) return isRevocationName(name) ? { name, revocation: undefined } : undefined
  const [expires = '', before = ''] = times.split(' ')
  const revocation = withTimes(targetOf(name), timeOf(expires), timeOf(before))
  return revocationName(revocation) === name ? { name, revocation } : undefined
}

function targetOf(name: string): Pick<Revocation, 'user' | 'jti'> {
  const target = name.slice(name.indexOf(':') + 1)
  if (name.startsWith('jti:')) return { jti: target }
  return name === 'tenant' ? {} : { user: target }
}

function withTimes(
  target: Pick<Revocation, 'user' | 'jti'>,
  expiresAtMs: number | undefined,
  issuedBeforeMs: number | undefined,
): Revocation {
  return {
    ...target,
    ...(issuedBeforeMs !== undefined && { issuedBeforeMs }),
    ...(expiresAtMs !== undefined && { expiresAtMs }),
  }
}

function timeOf(text: string): number | undefined {
  const ms = Number(text)
  return text !== '-' && Number.isFinite(ms) ? ms : undefined
}
