// How a server ends a session: every code that it has, and the session to be ended.
import { closeCodes } from '../../src/protocol/codes.js'
import type { Session } from '../../src/session/session.js'
import type { TestGateway } from './gateway.js'

const comesBack = (code: number): boolean => code < 3500 || (code >= 4000 && code < 4500)
const closes = Object.values(closeCodes)

/** The client comes back. */
export const temporaryCloses = closes.filter(({ code }) => comesBack(code))
/** The client knows that it must not. */
export const finalCloses = closes.filter(({ code }) => !comesBack(code))

export function onlySession({ gateway }: TestGateway): Session {
  const [session] = [...gateway.tenants].flatMap(({ sessions }) => [...sessions])
  if (!session || gateway.context.sessions.size > 1) throw new Error('not one session')
  return session
}
