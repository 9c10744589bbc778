// The page that `parley dev` serves: signs in, shows the chat, and back again.
import { ChatView } from './chat-view.js'
import { fetchTenants, type Tenant } from './dev-server.js'
import { forgetIdentity, type Identity, knownIdentity, parseIdentity, rememberIdentity } from './identity.js'
import { SignIn } from './sign-in.js'

function start(tenants: readonly Tenant[]): void {
  const enter = (identity: Identity) => {
    const tenant = tenants.find((one) => one.tenant === identity.tenant)
    if (!tenant)
      return door.show({ tenant: undefined, problem: `There is no tenant ${identity.tenant} here.` })
    rememberIdentity(identity)
    // The address has done its duty; a reload takes what the tab remembers.
    history.replaceState(null, '', location.pathname)
    const chat = new ChatView(identity, {
      tenant,
      signOut: () => {
        chat.end()
        forgetIdentity()
        door.show({ tenant: tenant.tenant, problem: '' })
      },
    })
  }
  const door = new SignIn(tenants, enter)
  // A link followed in a tab that is already here changes the fragment alone.
  addEventListener('hashchange', () => parseIdentity(location.hash.slice(1)) && location.reload())
  const known = knownIdentity(location)
  if (known) enter(known)
  else door.show({ tenant: new URLSearchParams(location.search).get('tenant') ?? undefined, problem: '' })
}

try {
  start(await fetchTenants())
} catch (error) {
  const reason = error instanceof Error ? error.message : String(error)
  new SignIn([], () => {}).show({
    tenant: undefined,
    problem: `The gateway does not answer (${reason}). Is it running? Reload to try again.`,
  })
}
