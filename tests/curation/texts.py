"""Sentences for made-up answers in four languages, with nothing of the checks' own phrases."""

NAMES = ("Amina", "Juma", "Petra", "Chen", "Lucía", "Omar", "Rosa", "Hans")
THINGS = ("lamp", "kettle", "chair", "bicycle", "radio", "jacket", "mirror", "tent")
PLACES = ("Arusha", "Berlin", "Lisbon", "Nairobi", "Lyon", "Madrid", "Zanzibar", "Oslo")

SENTENCES = {
    "en": (
        "{name} bought a {thing} in {place} last week and paid {number} shillings for it.",
        "The delivery to {place} takes about {number} days because the road is being repaired.",
        "You can return the {thing} within {number} days, as long as you still have the receipt.",
        "Please tell {name} that the {thing} (the large one) is ready to be collected.",
        "I cannot see the order of {name} yet; could you send me its number?",
        "Sorry for the delay: the {thing} left {place} this morning.",
        "There are {number} of them left in the shop in {place}, and two more in the store.",
        "First unpack the {thing}, then check whether all {number} screws are there.",
        "Unfortunately, I can't find a {thing} under {number} shillings in {place}.",
    ),
    "sw": (
        "{name} alinunua vitu vingi sokoni {place} wiki iliyopita kwa shilingi {number}.",
        "Mzigo wako utafika {place} baada ya siku {number} kwa sababu barabara inatengenezwa.",
        "Unaweza kurudisha bidhaa hii ndani ya siku {number} ukiwa na risiti yako.",
        "Tafadhali mwambie {name} kwamba kifurushi chake kipo tayari kuchukuliwa leo mchana.",
        "Asante kwa kuwasiliana nasi, tutakujibu haraka iwezekanavyo kuhusu ombi lako.",
    ),
    "de": (
        "{name} hat vorige Woche in {place} eingekauft und dafür {number} Euro bezahlt.",
        "Die Lieferung nach {place} dauert etwa {number} Tage, weil die Straße gesperrt ist.",
        "Sie können die Ware innerhalb von {number} Tagen mit dem Beleg zurückgeben.",
        "Bitte sagen Sie {name}, dass die Bestellung heute Nachmittag abgeholt werden kann.",
        "Leider ist das Geschäft in {place} am Sonntag geschlossen.",
    ),
    "es": (
        "{name} compró muchas cosas en {place} la semana pasada por {number} euros.",
        "El envío a {place} tarda unos {number} días porque están arreglando la carretera.",
        "Usted puede devolver el producto en {number} días si conserva el recibo.",
        "Por favor, dígale a {name} que su pedido está listo para recoger esta tarde.",
        "Lo siento por la espera, el paquete salió de {place} esta mañana temprano.",
    ),
}
QUESTIONS = {
    "en": "Write {name} a few lines about the order of {number} pieces that goes to {place}.",
    "sw": "Mwandikie {name} kuhusu oda ya vipande {number} inayokwenda {place} kwa ufupi.",
    "de": "Schreiben Sie {name} in wenigen Zeilen wegen der {number} Teile für {place}.",
    "es": "Escriba a {name} unas líneas sobre el pedido de {number} piezas que va a {place}.",
}
REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I\u2019m sorry, I can\u2019t assist with that request.",
    "Sorry, but I cannot comply with this.",
    "I am unable to assist with creating this message.",
    "I apologize, but I cannot provide that information.",
    "Unfortunately, I can't fulfill this request as it stands.",
    "I must decline.",
    "Samahani, siwezi kukusaidia na ombi hilo.",
    "Pole sana, lakini siwezi kujibu swali hili.",
    "Es tut mir leid, aber dabei kann ich nicht helfen.",
    "Leider kann ich Ihnen dabei nicht weiterhelfen.",
    "Lo siento, pero no puedo ayudarte con eso.",
)
SPECIAL = (
    "<|im_end|>", "<|im_start|>assistant", "</s>", "<|eot_id|>", "[/INST]", "[INST] Go on [/INST]",
    "<|endoftext|>", "<end_of_turn>", "<|end|>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
    "<|start_header_id|>user<|end_header_id|>", "<<SYS>>", "<pad>", "[PAD]", "<unk>",
)  # fmt: skip
THOUGHTS = (
    "<think>\nThe user wants this to be short.\n</think>\n\n{answer}",
    "The two agree.</think>{answer}",
    "<reasoning>Look at the facts.</reasoning> {answer}",
    "As an AI language model, I have read it closely. {answer}",
)
STEPS = (
    "Step 1: read the message. Step 2: choose. {answer}",
    "Let's think step by step. The words point to one choice.\nAnswer: {answer}",
    "Reasoning: both speak of the same order.\nAnswer: {answer}",
    "Hatua ya 1: soma ujumbe. {answer}",
)
