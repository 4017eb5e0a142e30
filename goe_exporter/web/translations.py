"""Every word a person reads on the page, in English and German: one table, one row per word.

A key is `group.word`; for states the word is that of `codes`, so that a new code is one more row
here. `{}` takes a number or a text.
"""

from __future__ import annotations

LANGUAGES = ("en", "de")
"""The columns of the table."""

WORDS: dict[str, tuple[str, str]] = {
    # State of the car
    "car_state.unknown": ("Unknown state", "Zustand unbekannt"),
    "car_state.idle": ("No car plugged in", "Kein Auto angesteckt"),
    "car_state.charging": ("Charging", "Lädt"),
    "car_state.waiting_for_car": ("Waiting for the car", "Wartet auf das Auto"),
    "car_state.complete": ("Not charging any more", "Laden beendet"),
    "car_state.error": ("Error", "Störung"),
    "car_state.initializing": ("Starting", "Startet"),
    # State of the connection
    "condition.waiting": ("Not asked yet", "Noch nicht gefragt"),
    "condition.unreachable": ("Does not answer", "Antwortet nicht"),
    "condition.never": ("Has not answered yet", "Hat noch nicht geantwortet"),
    "condition.blank": ("No state reported", "Kein Zustand gemeldet"),
    "condition.waiting_help": (
        "The first answer is expected within seconds.",
        "Die erste Antwort wird in wenigen Sekunden erwartet.",
    ),
    "condition.unreachable_help": (
        "Values are not shown because they are too old.",
        "Werte werden nicht gezeigt, weil sie zu alt sind.",
    ),
    "condition.blank_help": (
        "The charger answers, but gives no readings.",
        "Die Wallbox antwortet, liefert aber keine Messwerte.",
    ),
    # Why it charges or does not
    "charging_reason.unknown": ("Unknown reason", "Unbekannter Grund"),
    "charging_reason.no_charge_ctrl_data": (
        "Not allowed: no data from the charge controller",
        "Nicht freigegeben: keine Daten vom Laderegler",
    ),
    "charging_reason.over_temperature": (
        "Not allowed: the charger is too hot",
        "Nicht freigegeben: die Wallbox ist zu heiß",
    ),
    "charging_reason.access_control_wait": (
        "Not allowed: waiting for a card or the app",
        "Nicht freigegeben: wartet auf Karte oder App",
    ),
    "charging_reason.force_state_on": (
        "Allowed: switched on by hand",
        "Freigegeben: von Hand eingeschaltet",
    ),
    "charging_reason.force_state_off": (
        "Not allowed: switched off by hand",
        "Nicht freigegeben: von Hand ausgeschaltet",
    ),
    "charging_reason.scheduler": (
        "Not allowed: the schedule says so",
        "Nicht freigegeben: laut Zeitplan",
    ),
    "charging_reason.energy_limit": (
        "Not allowed: the energy limit is reached",
        "Nicht freigegeben: das Energielimit ist erreicht",
    ),
    "charging_reason.awattar_price_low": (
        "Allowed: electricity is cheap now",
        "Freigegeben: der Strom ist gerade günstig",
    ),
    "charging_reason.automatic_stop_test": (
        "Allowed: measuring for the trip's schedule",
        "Freigegeben: Testladung für die geplante Fahrt",
    ),
    "charging_reason.automatic_stop_not_enough_time": (
        "Allowed: little time left until the trip",
        "Freigegeben: wenig Zeit bis zur geplanten Fahrt",
    ),
    "charging_reason.automatic_stop": (
        "Allowed: planned for the next trip",
        "Freigegeben: für die nächste Fahrt geplant",
    ),
    "charging_reason.automatic_stop_no_clock": (
        "Allowed: the charger does not know the time",
        "Freigegeben: der Wallbox fehlt die Uhrzeit",
    ),
    "charging_reason.pv_surplus": (
        "Allowed: solar surplus",
        "Freigegeben: Photovoltaik-Überschuss",
    ),
    "charging_reason.fallback_goe_default": (
        "Allowed: nothing holds it back",
        "Freigegeben: nichts hält das Laden zurück",
    ),
    "charging_reason.fallback_goe_scheduler": (
        "Allowed: within the schedule",
        "Freigegeben: laut Zeitplan",
    ),
    "charging_reason.fallback_default": (
        "Allowed: nothing holds it back",
        "Freigegeben: nichts hält das Laden zurück",
    ),
    "charging_reason.fallback_goe_awattar": (
        "Not allowed: waiting for cheaper electricity",
        "Nicht freigegeben: wartet auf günstigeren Strom",
    ),
    "charging_reason.fallback_awattar": (
        "Not allowed: waiting for cheaper electricity",
        "Nicht freigegeben: wartet auf günstigeren Strom",
    ),
    "charging_reason.fallback_automatic_stop": (
        "Not allowed: enough for the next trip",
        "Nicht freigegeben: genug für die nächste Fahrt",
    ),
    "charging_reason.car_compatibility_keep_alive": (
        "Allowed: to keep the car awake",
        "Freigegeben: um das Auto wach zu halten",
    ),
    "charging_reason.charge_pause_not_allowed": (
        "Allowed: pausing is switched off",
        "Freigegeben: Pausieren ist ausgeschaltet",
    ),
    "charging_reason.simulate_unplugging": (
        "Not allowed: pretending to be unplugged to wake the car",
        "Nicht freigegeben: Abstecken wird vorgetäuscht, um das Auto zu wecken",
    ),
    "charging_reason.phase_switch": (
        "Not allowed: switching the number of phases",
        "Nicht freigegeben: die Phasenzahl wird umgeschaltet",
    ),
    "charging_reason.min_pause_duration": (
        "Not allowed: the shortest pause is not over",
        "Nicht freigegeben: die Mindestpause läuft noch",
    ),
    "charging_reason.error": (
        "Not allowed: an error stands",
        "Nicht freigegeben: eine Störung liegt vor",
    ),
    "charging_reason.load_management": (
        "Not allowed: load balancing gives no current",
        "Nicht freigegeben: das Lastmanagement gibt keinen Strom",
    ),
    "charging_reason.ocpp": (
        "Not allowed: the OCPP back end says so",
        "Nicht freigegeben: laut OCPP-Backend",
    ),
    "charging_reason.reconnect_delay": (
        "Not allowed: waiting after a reconnection",
        "Nicht freigegeben: Wartezeit nach neuer Verbindung",
    ),
    "charging_reason.adapter_blocking": (
        "Not allowed: the adapter blocks",
        "Nicht freigegeben: der Adapter sperrt",
    ),
    "charging_reason.underfrequency_control": (
        "Not allowed: the grid frequency is too low",
        "Nicht freigegeben: die Netzfrequenz ist zu niedrig",
    ),
    "charging_reason.unbalanced_load": (
        "Not allowed: the phases would be too unbalanced",
        "Nicht freigegeben: die Schieflast wäre zu groß",
    ),
    "charging_reason.discharging_pv_battery": (
        "Allowed: from the house battery",
        "Freigegeben: aus der Hausbatterie",
    ),
    "charging_reason.grid_monitoring": (
        "Not allowed: the grid is being watched",
        "Nicht freigegeben: Netzüberwachung",
    ),
    "charging_reason.ocpp_fallback": (
        "Not allowed: no contact to the OCPP back end",
        "Nicht freigegeben: kein Kontakt zum OCPP-Backend",
    ),
    "charging_reason.floor_detected": (
        "Not allowed: the mounting position is wrong",
        "Nicht freigegeben: falsche Montagelage erkannt",
    ),
    "charging_reason.ocpp_inoperable": (
        "Not allowed: put out of service over OCPP",
        "Nicht freigegeben: über OCPP außer Betrieb gesetzt",
    ),
    "charging_reason.undervoltage": (
        "Not allowed: the grid voltage is too low",
        "Nicht freigegeben: die Netzspannung ist zu niedrig",
    ),
    "charging_reason.zero_setpoint": (
        "Not allowed: the set point is zero",
        "Nicht freigegeben: die Vorgabe ist null",
    ),
    "charging_reason.initializing": (
        "Not allowed: the charger is starting",
        "Nicht freigegeben: die Wallbox startet",
    ),
    "charging_reason.failsafe_limit": (
        "Not allowed: the fail-safe limit holds",
        "Nicht freigegeben: das Sicherheitslimit greift",
    ),
    "why.allowed": (
        "Allowed; API v1 does not say why",
        "Freigegeben; API v1 nennt keinen Grund",
    ),
    "why.not_allowed": (
        "Not allowed; API v1 does not say why",
        "Nicht freigegeben; API v1 nennt keinen Grund",
    ),
    "why.access_wait": (
        "Not allowed; this charger asks for a card or the app first",
        "Nicht freigegeben; diese Wallbox verlangt erst Karte oder App",
    ),
    # Errors, and what each means
    "error.none": ("No error", "Keine Störung"),
    "error.unknown": ("Unknown error", "Unbekannte Störung"),
    "error.internal": ("Internal error", "Interner Fehler"),
    "error.fi_ac": ("Residual current (AC)", "Fehlerstrom (AC)"),
    "error.fi_dc": ("Residual current (DC)", "Fehlerstrom (DC)"),
    "error.fi_unknown": ("Residual current", "Fehlerstrom"),
    "error.phase": ("Phase fault", "Phasenfehler"),
    "error.overvoltage": ("Overvoltage", "Überspannung"),
    "error.overcurrent": ("Overcurrent", "Überstrom"),
    "error.diode": ("Diode fault", "Diodenfehler"),
    "error.pp_invalid": ("Cable coding invalid", "Kabelcodierung ungültig"),
    "error.gnd_invalid": ("Ground fault", "Erdungsfehler"),
    "error.contactor_stuck": ("Contactor stuck", "Schütz klebt"),
    "error.contactor_missing": ("Contactor missing", "Schütz fehlt"),
    "error.over_temperature": ("Too hot", "Übertemperatur"),
    "error.no_communication": ("No communication", "Keine Kommunikation"),
    "error.lock_stuck_open": ("Cable lock stuck open", "Kabelverriegelung hängt offen"),
    "error.lock_stuck_locked": ("Cable lock stuck", "Kabelverriegelung hängt geschlossen"),
    "error.cp_invalid": ("Control signal invalid", "Steuersignal ungültig"),
    "error.rdc_self_test_failed": ("Self-test failed", "Selbsttest gescheitert"),
    "error_help.unknown": (
        "No name is known for this number; the go-e app may show one.",
        "Für diese Nummer ist kein Name bekannt; die go-e App zeigt vielleicht einen.",
    ),
    "error_help.internal": (
        "The charger reports a fault in itself. Disconnect it from the mains for a minute.",
        "Die Wallbox meldet einen Fehler in sich. Trenne sie eine Minute lang vom Netz.",
    ),
    "error_help.fi_ac": (
        "Current is leaking to earth. Unplug the car; if it comes back, have car and cable tested.",
        "Strom fließt zur Erde. Stecke das Auto ab; kommt es wieder, lass Auto und Kabel prüfen.",
    ),
    "error_help.fi_dc": (
        "Direct current is leaking, mostly in the car. Unplug it and have it tested.",
        "Gleichstrom fließt ab, meist im Auto. Stecke es ab und lass es prüfen.",
    ),
    "error_help.fi_unknown": (
        "Current is leaking. Unplug the car; if it comes back, have car and cable tested.",
        "Strom fließt ab. Stecke das Auto ab; kommt es wieder, lass Auto und Kabel prüfen.",
    ),
    "error_help.phase": (
        "A phase is missing or swapped. Have the supply and its fuses checked.",
        "Eine Phase fehlt oder ist vertauscht. Lass Zuleitung und Sicherungen prüfen.",
    ),
    "error_help.overvoltage": (
        "The grid voltage is too high. It goes on by itself once it is normal.",
        "Die Netzspannung ist zu hoch. Es geht von selbst weiter, sobald sie normal ist.",
    ),
    "error_help.overcurrent": (
        "The car drew more than it was allowed. Plug it in again, with a lower current.",
        "Das Auto zog mehr als erlaubt. Stecke es neu an, mit kleinerem Strom.",
    ),
    "error_help.diode": (
        "The car's charging socket does not answer properly. Plug it in again; try another cable.",
        "Die Ladebuchse des Autos antwortet falsch. Stecke neu an; versuche ein anderes Kabel.",
    ),
    "error_help.pp_invalid": (
        "The cable's rating cannot be read. Plug it in again or try another cable.",
        "Die Belastbarkeit des Kabels ist nicht lesbar. Stecke neu an; nimm ein anderes Kabel.",
    ),
    "error_help.gnd_invalid": (
        "The protective earth is missing or poor. Do not charge; have the socket checked.",
        "Der Schutzleiter fehlt oder ist schlecht. Lade nicht; lass den Anschluss prüfen.",
    ),
    "error_help.contactor_stuck": (
        (
            "The contactor did not open. The plug may be live, even without a car."
            " Disconnect the charger from the mains and call the service."
        ),
        (
            "Das Schütz öffnet nicht. Der Stecker kann unter Spannung stehen, auch ohne Auto."
            " Trenne die Wallbox vom Netz und rufe den Service."
        ),
    ),
    "error_help.contactor_missing": (
        "The contactor did not close. Call the service.",
        "Das Schütz schließt nicht. Rufe den Service.",
    ),
    "error_help.over_temperature": (
        (
            "The charger is too hot. It goes on once it has cooled down; give it shade."
            " If it comes back, have the terminals checked."
        ),
        (
            "Die Wallbox ist zu heiß. Nach dem Abkühlen geht es weiter; gib ihr Schatten."
            " Kommt es wieder, lass die Klemmen prüfen."
        ),
    ),
    "error_help.no_communication": (
        "Parts of the charger do not reach each other. Disconnect it from the mains for a minute.",
        "Teile der Wallbox erreichen einander nicht. Trenne sie eine Minute lang vom Netz.",
    ),
    "error_help.lock_stuck_open": (
        "The plug is not held. Push it in fully and try again.",
        "Der Stecker wird nicht gehalten. Stecke ihn ganz ein und versuche es noch einmal.",
    ),
    "error_help.lock_stuck_locked": (
        "The plug is not let go. Push it in, wait a moment, then unplug.",
        "Der Stecker wird nicht freigegeben. Drücke ihn hinein, warte kurz, dann ziehe ihn ab.",
    ),
    "error_help.cp_invalid": (
        "The signal between car and charger is wrong. Plug in again; try another cable.",
        "Das Signal zwischen Auto und Wallbox stimmt nicht. Stecke neu an; nimm ein anderes Kabel.",
    ),
    "error_help.rdc_self_test_failed": (
        (
            "The residual-current sensor failed its test. Do not charge; disconnect the charger"
            " from the mains and have it checked."
        ),
        (
            "Der Fehlerstromsensor hat seinen Test nicht bestanden. Lade nicht; trenne die Wallbox"
            " vom Netz und lass sie prüfen."
        ),
    ),
    # What limits the current
    "limit.set": ("the setting", "die Einstellung"),
    "limit.set_temporary": ("the temporary setting", "die vorläufige Einstellung"),
    "limit.cable": ("the cable", "das Kabel"),
    "limit.temperature": ("the temperature", "die Temperatur"),
    "limit.load_balancing": ("load balancing", "das Lastmanagement"),
    "limit.adapter": ("the 16 A adapter", "der 16-A-Adapter"),
    "limit.charger": ("the charger's maximum", "das Maximum der Wallbox"),
    "limit.other": ("something the charger does not tell", "etwas, das die Wallbox nicht nennt"),
    # Other states
    "force_state.neutral": ("Neutral", "Neutral"),
    "force_state.off": ("Off", "Aus"),
    "force_state.on": ("On", "Ein"),
    "force_state.unknown": ("Unknown", "Unbekannt"),
    "phase_mode.auto": ("Automatic", "Automatisch"),
    "phase_mode.single": ("One phase", "Einphasig"),
    "phase_mode.three": ("Three phases", "Dreiphasig"),
    "phase_mode.unknown": ("Unknown", "Unbekannt"),
    "cable_lock.unknown": ("Unknown", "Unbekannt"),
    "cable_lock.unlocked": ("Unlocked", "Entriegelt"),
    "cable_lock.unlock_failed": ("Unlocking failed", "Entriegeln gescheitert"),
    "cable_lock.locked": ("Locked", "Verriegelt"),
    "cable_lock.lock_failed": ("Locking failed", "Verriegeln gescheitert"),
    "cable_lock.power_out": ("Locked, no power", "Verriegelt, ohne Strom"),
    "access.open": ("Open to all", "Frei für alle"),
    "access.wait": ("Card or app needed", "Karte oder App nötig"),
    "access.evcms": ("Managed (EVCMS)", "Verwaltet (EVCMS)"),
    "access.automatic": ("By electricity price", "Nach Strompreis"),
    "access.scheduler": ("By schedule", "Nach Zeitplan"),
    "access.unknown": ("Unknown", "Unbekannt"),
    "logic_mode.default": ("Standard", "Standard"),
    "logic_mode.awattar": ("Eco", "Eco"),
    "logic_mode.automatic_stop": ("Daily trip", "Tagesfahrt"),
    "logic_mode.unknown": ("Unknown", "Unbekannt"),
    # Why a poll failed
    "failure.timeout": ("no answer in time", "hat nicht rechtzeitig geantwortet"),
    "failure.refused": ("the connection was refused", "die Verbindung wurde abgelehnt"),
    "failure.unreachable": ("the network does not reach it", "im Netz nicht erreichbar"),
    "failure.dns": ("its name is not known in the network", "der Name ist im Netz unbekannt"),
    "failure.tls": ("no secure connection", "keine sichere Verbindung"),
    "failure.http_status": ("it answers with an error", "sie antwortet mit einem Fehler"),
    "failure.busy": ("it is busy with another client", "sie ist mit anderen Anfragen beschäftigt"),
    "failure.not_found": ("the local API is switched off", "die lokale API ist ausgeschaltet"),
    "failure.too_large": ("the answer is too long", "die Antwort ist zu lang"),
    "failure.truncated": ("the answer breaks off", "die Antwort bricht ab"),
    "failure.not_json": ("the answer is not JSON", "die Antwort ist kein JSON"),
    "failure.not_an_object": ("the answer is no status", "die Antwort ist kein Status"),
    "failure.unauthorized": ("the token is not accepted", "das Token wird nicht angenommen"),
    "failure.offline": ("it is not connected to the cloud", "nicht mit der Cloud verbunden"),
    "failure.outdated": ("the cloud has only old data", "die Cloud hat nur alte Daten"),
    # Headings and labels
    "label.power": ("Power", "Leistung"),
    "label.session": ("This session", "Dieser Ladevorgang"),
    "label.session_limit": ("of {} limit", "von {} Limit"),
    "label.no_limit": ("no energy limit", "ohne Energielimit"),
    "label.current": ("Allowed current", "Erlaubter Strom"),
    "label.current_then": ("Current once it may charge", "Strom, sobald es laden darf"),
    "label.limited_by": ("limited by {}", "begrenzt durch {}"),
    "label.phases": ("Phases", "Phasen"),
    "label.total": ("In total", "Insgesamt"),
    "label.total_help": ("in its lifetime", "seit der Herstellung"),
    "label.per_phase": ("Per phase", "Je Phase"),
    "label.phase": ("Phase", "Phase"),
    "label.voltage": ("Voltage", "Spannung"),
    "label.amperes": ("Current", "Strom"),
    "label.power_factor": ("Power factor", "Leistungsfaktor"),
    "label.temperatures": ("Temperatures", "Temperaturen"),
    "label.charger": ("Charger", "Wallbox"),
    "label.chargers": ("Chargers", "Wallboxen"),
    "label.all_chargers": ("All chargers", "Alle Wallboxen"),
    "label.details": ("Details", "Einzelheiten"),
    "label.error": ("Error", "Störung"),
    "label.code": ("code {}", "Code {}"),
    "label.force_state": ("Switched by hand", "Von Hand geschaltet"),
    "label.cable_lock": ("Cable lock", "Kabelverriegelung"),
    "label.access": ("Access", "Zugang"),
    "label.logic_mode": ("Charging mode", "Lademodus"),
    "label.wifi": ("WiFi", "WLAN"),
    "label.frequency": ("Grid frequency", "Netzfrequenz"),
    "label.model": ("Model", "Modell"),
    "label.variant": ("Rating", "Leistungsklasse"),
    "label.firmware": ("Firmware", "Firmware"),
    "label.serial": ("Serial number", "Seriennummer"),
    "label.device_name": ("Name in the app", "Name in der App"),
    "label.address": ("Address", "Adresse"),
    "label.uptime": ("Running for", "Läuft seit"),
    "label.state": ("State", "Zustand"),
    "label.data": ("Age of the data", "Alter der Daten"),
    "sensor.type2_port": ("Type 2 port", "Typ-2-Buchse"),
    "sensor.board": ("Board", "Platine"),
    "sensor.grid_connector": ("Grid connector", "Netzanschluss"),
    "sensor.current_sensor": ("Current sensor", "Stromsensor"),
    "sensor.type2_terminals": ("Type 2 terminals", "Typ-2-Klemmen"),
    "sensor.mid_meter": ("MID meter", "MID-Zähler"),
    "wifi.good": ("good", "gut"),
    "wifi.fair": ("fair", "mittel"),
    "wifi.poor": ("poor", "schwach"),
    # How old
    "age.live": ("Measured {} ago", "Gemessen vor {}"),
    "age.last_answer": ("Last answer {} ago", "Letzte Antwort vor {}"),
    "age.never": ("No data yet", "Noch keine Daten"),
    # Charts
    "chart.title": ("The last hour", "Die letzte Stunde"),
    "chart.power": ("Power", "Leistung"),
    "chart.current": ("Current per phase", "Strom je Phase"),
    "chart.temperature": ("Temperature", "Temperatur"),
    "chart.total": ("Total", "Gesamt"),
    "chart.empty": ("No values yet", "Noch keine Werte"),
    "chart.gap": ("no value", "kein Wert"),
    "chart.summary": (
        "{name}: {low} to {high}, last {last}",
        "{name}: {low} bis {high}, zuletzt {last}",
    ),
    "chart.needs_script": (
        "The charts need JavaScript; the values are in the JSON API.",
        "Die Diagramme brauchen JavaScript; die Werte stehen in der JSON-API.",
    ),
    # The page
    "page.no_chargers": ("No chargers are configured.", "Keine Wallboxen eingerichtet."),
    "page.not_found": ("There is no such charger.", "Diese Wallbox gibt es nicht."),
    "page.lost": ("The exporter does not answer.", "Der Exporter antwortet nicht."),
    "page.refused": (
        "The exporter refuses access (status {}). Reload the page to log in.",
        "Der Exporter verweigert den Zugang (Status {}). Lade die Seite neu, um dich anzumelden.",
    ),
    "page.busy": (
        "Too many requests (status {}). The page asks again by itself.",
        "Zu viele Anfragen (Status {}). Die Seite fragt von selbst wieder.",
    ),
    "page.foreign": (
        "The answer is not a page of the exporter (status {}).",
        "Die Antwort ist keine Seite des Exporters (Status {}).",
    ),
    "page.lost_age": ("The values are {} old.", "Die Werte sind {} alt."),
    "page.reload": ("Reload", "Neu laden"),
    "page.needs_script": (
        "Without JavaScript this page does not renew itself.",
        "Ohne JavaScript erneuert sich diese Seite nicht von selbst.",
    ),
    "page.skip": ("Skip to the content", "Zum Inhalt springen"),
    "page.metrics": ("Metrics", "Metriken"),
    "page.json": ("JSON API", "JSON-API"),
    "page.openapi": ("API description", "API-Beschreibung"),
    "page.documentation": ("Documentation", "Dokumentation"),
    "page.read_only": (
        "This page only reads; it changes nothing at the charger.",
        "Diese Seite liest nur; sie ändert nichts an der Wallbox.",
    ),
}
"""Key → (English, German)."""
