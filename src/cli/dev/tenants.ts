// What a newcomer can try with a tenant, read from its policy.
import { lobbyChannel } from '../../protocol/chat/channels.js'
import type { TenantPolicy } from '../../tenant/policy.js'

/** The value that stands for any claim in suggestions. */
const sampleClaim = 'red'

/** Channels to begin with: the literal ones, and patterns over claims with `red` filled in. The lobby and personal ones come by themselves. */
export function suggestedRooms(policy: TenantPolicy): string[] {
  return policy.channels
    .filter(({ match }) => match.type !== 'Prefix' && match.value !== lobbyChannel)
    .map(({ match }) => match.value.replaceAll(/\{claims\.[^}]+\}/g, sampleClaim))
    .filter((channel) => !/[{*]/.test(channel))
}

/** Claims that a rule's pattern asks for, each with the sample value. */
export function suggestedClaims(policy: TenantPolicy): Record<string, string> {
  const names = policy.channels.flatMap(({ match }) =>
    [...match.value.matchAll(/\{claims\.([^}]+)\}/g)].map(([, name]) => name ?? ''),
  )
  return Object.fromEntries(names.map((name) => [name, sampleClaim]))
}
