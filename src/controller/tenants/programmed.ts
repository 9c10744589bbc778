// What `Programmed` says of a tenant's standing in the catalog: pure.
import type { Standing } from '../catalog/publisher.js'
import type { Verdict } from './conditions.js'

/**
 * `accepted`: the spec as it stands is what was compiled. `revision`: the one that gateways go on with, as far as is known; `suspended`:
 * it lets nobody in.
 */
export function programmedBy(
  standing: Standing,
  facts: { accepted: true } | { accepted: boolean; revision: string | undefined; suspended: boolean },
): Verdict {
  if (!facts.accepted) {
    const { revision, suspended } = facts
    if (revision === undefined)
      return waitsForSomebody(
        'NeverAccepted',
        'Gateways do not know the tenant: its spec was never accepted.',
      )
    const but = suspended ? ', and let nobody in: the tenant is suspended' : ''
    return waitsForSomebody(
      'LastGoodRevision',
      `Gateways go on with revision ${revision}, the last that was accepted${but}.`,
    )
  }
  switch (standing.kind) {
    case 'all':
      return { ok: true, reason: 'Programmed', message: 'Every live gateway enforces this revision.' }
    case 'pending':
      return waits('Pending', 'The revision is written; not every live gateway has reported it yet.')
    case 'problem':
      return waits('GatewayProblem', 'A gateway cannot serve this revision: its log says why.')
    case 'noGateways':
      return waits('NoGateways', 'No gateway is alive.')
    case 'unavailable':
      return waits('CatalogUnavailable', `Redis cannot be written: ${standing.message}.`)
    case 'foreign':
      return waitsForSomebody('CatalogNotOurs', `The catalog belongs to the cluster ${standing.owner}.`)
  }
}

function waits(reason: Extract<Verdict, { ok: false }>['reason'], message: string): Verdict {
  return { ok: false, reason, message, waitsFor: 'time' }
}

function waitsForSomebody(reason: Extract<Verdict, { ok: false }>['reason'], message: string): Verdict {
  return { ok: false, reason, message, waitsFor: 'somebody' }
}
