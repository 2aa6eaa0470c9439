"""Writes the PDF documents of the handbook into documents/; needs `pip install fpdf2`, which the project does not.

Run it again after a change of the text below and commit the PDFs. The dates are fixed: equal text gives equal files.
"""

from datetime import UTC, datetime
from pathlib import Path

from fpdf import FPDF

DOCUMENTS = Path(__file__).parent / "documents"

# A line that begins with "# " is a heading, "- " a list item, "| " a table row, "---" a new page; others are
# paragraphs. A line that begins with two spaces continues the one before it.
FERNWRIGHT = """
# Fernwright controllers: product sheet
Edition 11, February 2032. This sheet compares the Fernwright 200 and the Fernwright 400. Both control vents, heating,
  shading, misting and light in greenhouses. They look alike on paper and are meant for different houses, so please
  compare the figures with care.
# Which one do I need?
The Fernwright 200 is for one greenhouse of up to 400 square metres with one climate zone. The Fernwright 400 is for
  up to 3,500 square metres and comes with four climate zones; licences for up to eight more can be added. If you dose
  carbon dioxide, you need the Fernwright 400, because the Fernwright 200 has no dosing output.
# Technical data
| Property; Fernwright 200; Fernwright 400
| Order number; FW200-EU; FW400-EU
| Relay outputs; 8; 16
| Analogue inputs; 4; 12
| Climate zones; 1; 4, up to 12 with licences
| Relay rating; 6 A; 8 A
| Display; 2 lines of text; 4.3 inch colour
| Protection; IP54; IP66
| Working temperature; -5 to 50 degrees; -20 to 55 degrees
| Supply; 24 V AC, 18 W; 24 V AC, 38 W
| Weight; 1.1 kg; 3.4 kg
| List price without tax; EUR 489; EUR 1,140
---
# What is in the box
Fernwright 200: the controller, four screws, a spare fuse, a drilling template and a printed card. Fernwright 400: the
  controller, a key for the door, a wall bracket, eight cable glands and a handbook of 96 pages. A power supply is not
  part of either box. We recommend the supply PS-24-60, which costs EUR 42 and is enough for either model.
# Mounting
Mount the controller at eye height, out of direct sun and at least 1.5 metres from any misting nozzle. Cables enter
  from below. For the Fernwright 200 use cable of 0.75 square millimetres or more; for the Fernwright 400 the relay
  side takes up to 2.5 square millimetres. Mounting takes an electrician about 50 minutes for the small one and three
  hours for the large one.
# Control methods
Both models control temperature and humidity by schedule, with up to 6 periods a day on the Fernwright 200 and 24 on
  the Fernwright 400. The Fernwright 400 can also control vapour pressure deficit directly and look ahead: it reads a
  weather forecast from Canopy Cloud and begins to heat up to 90 minutes before a cold front arrives. In tests in
  Kestrel Bay this saved 11 per cent of gas over a winter.
# Working together
Several Fernwright 400 controllers can share a weather mast, the model Windrow 3, which measures wind, rain and light.
  The mast costs EUR 310 and is connected by a cable of up to 80 metres. The Fernwright 200 has an input for a simple
  rain sensor only.
---
# Licences for extra zones
One licence adds one climate zone to a Fernwright 400 and costs EUR 95, once, without a subscription. Licences are
  tied to the serial number. They survive a factory reset and can be moved to another controller by support when the
  first one is broken.
# Hardware revisions
The letter after the serial number is the hardware revision. Revision G of the Fernwright 200, made since November
  2031, keeps a minimum pause between relay switches in the relay processor itself, independent of the firmware.
  Revision D of the Fernwright 400, made since June 2030, has a service PIN of its own for each unit.
# Approvals
Both models carry the CE mark. The Fernwright 400 is also approved for rooms with up to 95 per cent humidity all year
  round under certificate number GH-77-4120. Neither model is approved for use with explosive gases or in stables.
# Recycling
Send old controllers to the workshop in Tolvanger free of charge; write RECYCLE on the parcel. We take out the relays
  that have switched fewer than 100,000 times, test them, and use them in repairs.
"""

SENSORS = """
# Dewpoint sensors and Larkspur Hub: product sheet
Edition 8, January 2032. Dewpoint sensors measure the climate between the plants and send it by radio to the Larkspur
  Hub. There are two models. The Dewpoint Mini is for many places at a low price; the Dewpoint Pro is for those places
  that decide.
# Technical data of the sensors
| Property; Dewpoint Mini; Dewpoint Pro
| Order number; DP-M1; DP-P2
| Humidity accuracy; 3.0 per cent; 1.2 per cent
| Temperature accuracy; 0.5 degrees; 0.2 degrees
| Measures every; 300 seconds; 60 seconds
| Light sensor; none; 0 to 2,500 micromol
| Battery; 1 coin cell CR2477; 2 lithium cells AA
| Battery life; 14 months; 31 months
| Range in the open; 120 metres; 340 metres
| Protection; IP44; IP67
| Weight; 28 g; 165 g
| List price without tax; EUR 39; EUR 128
# Where to hang them
Hang sensors at the height of the leaves, in the shade of the plants, and away from heating pipes by at least 60
  centimetres. One sensor for each 80 square metres is a good start. No automatic action depends on a single reading,
  so every climate zone needs at least two sensors before the controller will use it.
---
# Reading the leaves
The clip LC-1 turns a Dewpoint Pro into a leaf thermometer. It costs EUR 22, weighs 9 grams, and should be moved to a
  new leaf every ten days. It does not fit the Dewpoint Mini. Readings appear in the Canopy API under the quantity
  leaf.
# Cold and heat
The Dewpoint Mini works from 0 to 45 degrees, the Dewpoint Pro from -30 to 60. Below zero the coin cell of the Mini
  loses voltage and the sensor falls silent, but it is not damaged. In propagation boxes above 45 degrees use the Pro
  only.
# Colours
The Mini comes in moss green; packs of ten can be ordered in white for one tenth more. The Pro is always white,
  because a dark housing warms up in the sun by as much as 1.8 degrees.
# Batteries
Use the batteries that are named in the table. Rechargeable cells have a lower voltage, and the sensor will report an
  empty battery after two weeks. At 15 per cent the Trellis app asks for new ones; there are about 20 days left at
  that point.
---
# Larkspur Hub
The hub collects the readings and hands them to Canopy Cloud by network cable or through the mobile network. The
  mobile connection is included for the first 24 months and costs EUR 4 a month after that. The hub chooses the cable
  whenever it works.
| Property; Larkspur Hub
| Order number; LH-3
| Sensors; up to 60
| Controllers; up to 3
| Memory without internet; 72 hours or 400,000 readings
| Radio; 868.3 MHz in Europe
| Supply; 12 V adapter, 9 W
| Bridging of power cuts; 5 hours by battery
| Protection; IP54
| List price without tax; EUR 265
# When the internet is gone
The hub keeps readings for 72 hours. Controllers that are paired with it go on receiving sensor readings, so the
  control of the climate does not need the internet. When the connection returns, the current readings are sent first
  and the gap is filled afterwards.
# Privacy
The hub has no microphone and no camera. It contacts three addresses only, which are printed on its bottom. The small
  hedgehog next to them is Quillon, and he is only decoration.
"""

RECALL = """
# Recall notice RC-0009: power adapter of the Larkspur Hub
Published on 5 June 2031, last changed on 18 August 2031. This notice is about the power adapter that came with
  Larkspur Hubs of batch LH-22-K. The hub itself is safe. Please stop using the adapter now and read on.
# What is wrong
In 640 adapters a capacitor was fitted the wrong way round. After some months of use it becomes hot. In our laboratory
  the housing reached 71 degrees, which is enough to hurt a hand and to soften the plastic. We know of 14 adapters
  that failed. Two of them left marks on a wooden shelf; nobody was hurt.
# Am I affected?
Look at the label on the bottom of the hub. You are affected if the batch is LH-22-K and the adapter is black with a
  straight plug. Adapters with an angled plug are from another maker and are not affected, even in the same batch.
  Hubs of this batch were sold between 3 February and 22 April 2031.
- Batch LH-22-J and earlier: not affected
- Batch LH-22-K with a straight plug: affected
- Batch LH-22-L and later: not affected
A red light that blinks fast means that the hub has noticed a hot adapter. Unplug it at the wall, not at the hub, and
  let it cool down for 20 minutes before you touch it.
---
# What you should do
Unplug the adapter. Order a new one on the page brindlemoor.example/rc9 or by telephone on 0555 010 940, every day
  from 07:00 to 21:00. You need the serial number of the hub and no receipt. The new adapter is sent within two
  working days and costs you nothing. The hub runs for 5 hours on its battery, and from any 12 V supply of at least 9
  W in the meantime.
Do not send the old adapter back by post. Bring it to an electronics recycling point, or put it into the metal tin
  that comes with the new one and hand it to our driver.
# What we give you
Everybody who is affected gets a new adapter, a warranty of 48 months on it, and three months of the Growth plan. If
  the adapter damaged something, write to support with a photograph; the growers' fund decides within ten working
  days.
# How it happened
The maker of the adapter changed a machine on 11 January 2031 and fitted the part by hand for nine days. Our incoming
  test looked at voltage and current but did not run the adapters hot. Since then, 5 adapters of each delivery run for
  48 hours at 40 degrees before the delivery is accepted, and power supplies are bought from two makers at any time.
---
# State of the recall
On 18 August 2031, 587 of the 640 adapters had been replaced or confirmed as destroyed. We keep looking for the other
  53. The telephone line stays open until the end of 2033. If you sold your hub, please tell the new owner.
# Questions and answers
Can I go on using the hub? Yes, with another supply of 12 V and at least 9 W whose plug fits: 5.5 by 2.1 millimetres,
  plus on the inside.
Will my readings be lost? No. The hub keeps them for 72 hours, and sensors do not notice.
Is the Fernwright power supply PS-24-60 affected? No. It comes from another maker and has another design.
Who is responsible for this recall? Devraj Okonjo, head of support, signed it. The product safety office has it under
  the file number PS/31/2207.
"""


class Sheet(FPDF):
    """A page with the company's name above and the page number below."""

    def header(self) -> None:
        self.set_font("Helvetica", "I", 9)
        self.cell(0, 8, "Brindlemoor Systems", align="R", new_x="LMARGIN", new_y="NEXT")

    def footer(self) -> None:
        self.set_y(-15)
        self.set_font("Helvetica", "I", 9)
        self.cell(0, 8, f"Page {self.page_no()}", align="C")


def _table(pdf: FPDF, rows: list[str]) -> None:
    pdf.set_font("Helvetica", size=10)
    with pdf.table(line_height=6) as table:
        for line in rows:
            row = table.row()
            for cell in line.removeprefix("| ").split("; "):
                row.cell(cell)
    pdf.ln(3)


def write(name: str, source: str) -> None:
    """Lay out one document and write documents/<name>."""
    lines = source.strip().replace("\n  ", " ").splitlines()
    pdf = Sheet()
    pdf.set_creation_date(datetime(2032, 2, 20, tzinfo=UTC))
    pdf.set_title(lines[0].removeprefix("# "))
    pdf.set_author("Brindlemoor Systems")
    pdf.add_page()
    rows: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("| "):
            rows.append(line)
            continue
        if rows:
            _table(pdf, rows)
            rows = []
        if line == "---":
            pdf.add_page()
        elif line.startswith("# "):
            pdf.set_font("Helvetica", "B", 14)
            pdf.multi_cell(0, 9, line.removeprefix("# "), align="L", new_x="LMARGIN", new_y="NEXT")
        elif line:
            pdf.set_font("Helvetica", size=11)
            pdf.multi_cell(0, 6, line, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(2)
    pdf.output(str(DOCUMENTS / name))


if __name__ == "__main__":
    write("product-fernwright-controllers.pdf", FERNWRIGHT)
    write("product-dewpoint-larkspur.pdf", SENSORS)
    write("recall-larkspur-adapter.pdf", RECALL)
