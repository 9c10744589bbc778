// The door: which tenant, and who.
import type { Tenant } from './dev-server.js'
import { element, find, setText } from './dom.js'
import type { Claims, Identity } from './identity.js'

/** Shows the form until somebody comes in. `problem`: why an earlier try failed. */
export class SignIn {
  readonly #page = find('sign-in', HTMLElement)
  readonly #form = find('sign-in-form', HTMLFormElement)
  readonly #user = find('user', HTMLInputElement)
  readonly #guest = find('guest', HTMLButtonElement)
  readonly #tenants: readonly Tenant[]
  readonly #enter: (identity: Identity) => void

  constructor(tenants: readonly Tenant[], enter: (identity: Identity) => void) {
    this.#tenants = tenants
    this.#enter = enter
    find('tenants', HTMLElement).replaceChildren(...tenants.map(tenantChoice))
    this.#form.addEventListener('change', () => this.#draw())
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#onSubmit()
    })
    this.#guest.addEventListener('click', () => this.#enterAs(undefined, {}))
  }

  show(options: { tenant: string | undefined; problem: string }): void {
    const chosen = this.#tenants.find(({ tenant }) => tenant === options.tenant) ?? this.#tenants[0]
    for (const radio of this.#form.querySelectorAll<HTMLInputElement>('input[name=tenant]')) {
      radio.checked = radio.value === chosen?.tenant
    }
    this.#draw()
    this.#say(options.problem)
    this.#page.hidden = false
    this.#user.focus()
  }

  get #tenant(): Tenant | undefined {
    const name = new FormData(this.#form).get('tenant')
    return this.#tenants.find(({ tenant }) => tenant === name)
  }

  get #claims(): Claims {
    const team = find('team', HTMLInputElement).value.trim()
    const role = find('role', HTMLInputElement).value.trim()
    return { ...(team && { team }), ...(role && { roles: [role] }) }
  }

  #onSubmit(): void {
    const user = this.#user.value.trim()
    if (user) return this.#enterAs(user, this.#claims)
    this.#say('A name is needed, any you like.')
    this.#user.focus()
  }

  #enterAs(user: string | undefined, claims: Claims): void {
    const tenant = this.#tenant
    if (!tenant) return this.#say('The gateway has no tenants: is the folder of manifests empty?')
    this.#page.hidden = true
    this.#enter({ tenant: tenant.tenant, user, claims })
  }

  #say(problem: string): void {
    setText(find('sign-in-problem', HTMLElement), problem)
  }

  #draw(): void {
    this.#guest.hidden = this.#tenant?.guests !== true
  }
}

function tenantChoice(tenant: Tenant): HTMLElement {
  const radio = element('input', { type: 'radio', name: 'tenant', value: tenant.tenant })
  const facts = tenant.guests ? `${tenant.tenant} · guests welcome` : tenant.tenant
  const words = element(
    'span',
    { class: 'words' },
    element('span', { class: 'name' }, tenant.displayName),
    element('span', { class: 'facts' }, facts),
  )
  return element('label', { class: 'tenant' }, radio, words)
}
